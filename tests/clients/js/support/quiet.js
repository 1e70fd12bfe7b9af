// Keeps matrix-js-sdk from logging. It must be imported before the SDK, which says how it logs, and
// binds some of its loggers' methods, as it is loaded.

import loglevel from "loglevel";

Object.defineProperty(loglevel, "methodFactory", { get: () => () => () => {}, set() {} });
