//! The one test binary: behaviour over HTTP, and the shape of the code.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![expect(
    clippy::cloned_ref_to_slice_refs,
    clippy::disallowed_methods,
    clippy::duration_suboptimal_units,
    clippy::format_push_string,
    clippy::manual_is_multiple_of,
    clippy::ref_option,
    clippy::similar_names,
    clippy::too_many_lines,
    clippy::unnecessary_debug_formatting,
    clippy::useless_conversion,
    reason = "tests tell stories, in order and at length"
)]

mod app;
mod appservice;
mod audit;
mod authorization;
mod client;
mod cluster;
mod explain;
mod faults;
mod first_run;
mod harness;
mod http;
mod identity;
mod mail;
mod mail_queue;
mod media;
mod notices;
mod operations;
mod pages;
mod policy;
mod rows;
mod scanner;
mod tidy;
