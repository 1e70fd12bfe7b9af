//! Rules about the shape of the code that the compiler cannot check.
//!
//! They read the sources as tokens, so comments and strings do not count.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

/// The modules, lowest layer first. A module may use modules of lower layers only.
const LAYERS: &[&[&str]] = &[
    &[
        "clock",
        "language",
        "lifecycle",
        "outbound",
        "random",
        "telemetry",
        "templates",
    ],
    &["config"],
    &["appservice", "event"],
    &["policy"],
    &["store"],
    &["audit", "cluster", "mail", "pages"],
    &["media"],
    &["calls", "previews", "rendezvous", "rooms", "scanner"],
    &["accounts", "keys"],
    &["identity", "notices", "push", "sync"],
    &["bridges"],
    &["http"],
    &["app"],
    &["cli"],
];

/// Modules that decide, and do no I/O.
const PURE: &[&str] = &["event", "policy"];

/// Words that mean I/O, or a clock.
const IO: &[&str] = &[
    "async",
    "await",
    "tokio",
    "sqlx",
    "reqwest",
    "SystemTime",
    "Instant",
];

/// How long a source file may be, tests aside.
const MAX_LINES: usize = 500;

#[test]
fn modules_use_lower_layers_only() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut faults = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        let Some(own) = layer(&module) else { continue };
        for used in crate_paths(tokens(&file)) {
            if used != module && layer(&used).is_some_and(|used| own <= used) {
                faults.push(format!("{}: `{module}` uses `{used}`", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// `super` must not climb to the crate's root: that would hide a use from the test above.
#[test]
fn super_stays_inside_its_module() {
    for file in sources() {
        let inside = file.strip_prefix(src()).unwrap().with_extension("");
        let depth = inside.iter().filter(|part| *part != "mod").count();
        let climbs = climbs_out(tokens(&file), depth);
        assert!(!climbs, "{}: `super` reaches the root", file.display());
    }
}

#[test]
fn every_module_has_a_layer() {
    let roots = ["lib", "main"];
    let unknown: BTreeSet<String> = sources()
        .map(|file| module_of(&file))
        .filter(|module| !roots.contains(&module.as_str()))
        .filter(|module| !LAYERS.iter().any(|layer| layer.contains(&module.as_str())))
        .collect();
    assert!(unknown.is_empty(), "give these a layer: {unknown:?}");
}

#[test]
fn pure_modules_do_no_io() {
    for file in sources().filter(|file| PURE.contains(&module_of(file).as_str())) {
        for word in idents(tokens(&file)) {
            assert!(!IO.contains(&word.as_str()), "{}: `{word}`", file.display());
        }
    }
}

#[test]
fn only_the_store_names_sqlx() {
    for file in sources().filter(|file| module_of(file) != "store") {
        let named = idents(tokens(&file)).any(|word| word == "sqlx");
        assert!(!named, "{}", file.display());
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!(text.starts_with("//!"), "{}: no module doc", file.display());
        assert!(lines <= MAX_LINES, "{}: {lines} lines", file.display());
    }
}

/// The files of `src`, tests aside.
fn sources() -> impl Iterator<Item = PathBuf> {
    let mut pending = vec![src()];
    std::iter::from_fn(move || {
        loop {
            let path = pending.pop()?;
            if path.ends_with("tests") || path.ends_with("tests.rs") {
                continue;
            }
            if path.is_dir() {
                pending.extend(
                    fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else if path.extension().is_some_and(|end| end == "rs") {
                return Some(path);
            }
        }
    })
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The top-level module that a file belongs to.
fn module_of(file: &Path) -> String {
    let first = file.strip_prefix(src()).unwrap().iter().next().unwrap();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn tokens(file: &Path) -> TokenStream {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

fn idents(stream: TokenStream) -> Box<dyn Iterator<Item = String>> {
    Box::new(
        stream
            .into_iter()
            .flat_map(|tree| -> Box<dyn Iterator<Item = String>> {
                match tree {
                    TokenTree::Ident(ident) => Box::new(std::iter::once(ident.to_string())),
                    TokenTree::Group(group) => idents(group.stream()),
                    TokenTree::Punct(_) | TokenTree::Literal(_) => Box::new(std::iter::empty()),
                }
            }),
    )
}

/// The modules named right after `crate::`, alone or in a group, at any depth.
fn crate_paths(stream: TokenStream) -> BTreeSet<String> {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut found = BTreeSet::new();
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            found.extend(crate_paths(group.stream()));
        }
        if matches!(tree, TokenTree::Ident(ident) if ident == "crate") {
            // `crate`, `:`, `:`, and then a name or a group.
            match trees.get(at + 3) {
                Some(TokenTree::Ident(name)) => found.extend([name.to_string()]),
                Some(TokenTree::Group(group)) => found.extend(heads(group.stream())),
                Some(TokenTree::Punct(_) | TokenTree::Literal(_)) | None => (),
            }
        }
    }
    found
}

/// Whether a chain of `super` climbs out of `depth` modules.
fn climbs_out(stream: TokenStream, depth: usize) -> bool {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let is = |at: usize, name: &str| matches!(trees.get(at), Some(TokenTree::Ident(ident)) if ident == name);
    trees.iter().enumerate().any(|(at, tree)| match tree {
        // An inline module, such as `mod tests { .. }`, is one deeper.
        TokenTree::Group(group) => {
            let module = at >= 2 && is(at - 2, "mod");
            climbs_out(group.stream(), depth + usize::from(module))
        }
        TokenTree::Ident(_) => {
            // Each `super` is followed by two colons.
            let climbed = (at..).step_by(3).take_while(|at| is(*at, "super")).count();
            climbed >= depth && climbed > 0
        }
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The first name of each item of a `use` group.
fn heads(stream: TokenStream) -> Vec<String> {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let items =
        trees.split(|tree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ','));
    items
        .filter_map(|item| item.first())
        .map(ToString::to_string)
        .collect()
}
