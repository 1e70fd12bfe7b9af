// Keeps matrix-js-sdk from logging. This must be imported before the SDK, which says how it logs, and
// binds some of its loggers' methods, as it is loaded.

import loglevel from "loglevel";

Object.defineProperty(loglevel, "methodFactory", { get: () => () => () => {}, set() {} });

// Its Rust crypto says all that it does at these levels.
console.debug = console.info = () => {};
