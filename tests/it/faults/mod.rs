//! What goes wrong: processes killed, databases restarted, bad input, answers lost on the way.

pub(crate) mod bad_input;
mod kill;
mod load;
mod log;
mod oracle;
mod postgres;
mod sliding_view;
mod two_processes;
mod view;
