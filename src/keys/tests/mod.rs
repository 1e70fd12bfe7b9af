//! Tables about what keys must be like.
