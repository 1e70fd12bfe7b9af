//! Tests of the configuration: its errors word for word, its example and its documentation.

mod documents;
mod environment;
mod errors;
mod live;
mod secrets;
mod units;

use super::{Config, load};

/// What is wrong with a file named `test.toml`, line by line.
fn errors(text: &str) -> Vec<String> {
    errors_with(text, &[])
}

/// The same, with variables.
fn errors_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let Err(errors) = load_with(text, variables) else {
        return Vec::new();
    };
    errors.to_string().lines().map(ToOwned::to_owned).collect()
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, super::ConfigErrors> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    load::load("test.toml", text, variables.iter().map(owned))
}
