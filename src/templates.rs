//! The words that people see: templates that are part of the program, and an operator's files that
//! replace them.
//!
//! Templates are minijinja's. Names that are not given are errors, HTML is escaped, and errors
//! carry no values: what is rendered holds secrets.

use std::{
    collections::BTreeMap,
    error::Error as _,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value, syntax::SyntaxConfig};

/// The templates of the program: the name of each, with `/` between folders, and its text.
pub type BuiltIn = &'static [(&'static str, &'static str)];

/// The longest file that replaces a template, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// Parsed templates.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    sources: BTreeMap<&'static str, Source>,
}

#[derive(Debug)]
struct Source {
    text: String,
    /// The operator's file.
    file: Option<PathBuf>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The operator's file, or the name of a template of the program.
    pub file: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// Templates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Templates {
    /// The templates of the program, each replaced by the file of its name below `folder`, if
    /// there is one. A folder that does not exist replaces nothing.
    ///
    /// # Errors
    ///
    /// All files that cannot be read or parsed, or that replace nothing.
    pub fn load(built_in: BuiltIn, folder: Option<&Path>) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut found = BTreeMap::new();
        if let Some(folder) = folder
            && let Err(fault) = collect(folder, "", &mut found)
        {
            faults.push(fault);
        }
        let mut sources = BTreeMap::new();
        for (name, text) in built_in {
            let (text, file) = match found.remove(*name) {
                None => ((*text).to_owned(), None),
                Some(file) => match read(&file) {
                    Ok(text) => (text, Some(file)),
                    Err(fault) => {
                        faults.push(fault);
                        continue;
                    }
                },
            };
            sources.insert(*name, Source { text, file });
        }
        faults.extend(found.into_values().map(|file| {
            let message = "replaces nothing: there is no template of this name".to_owned();
            fault(&file, message)
        }));
        let environment = environment().map_err(|error| Faults(vec![blame("", None, &error)]))?;
        let mut templates = Self {
            environment,
            sources,
        };
        faults.extend(templates.parse());
        if faults.is_empty() {
            Ok(templates)
        } else {
            Err(Faults(faults))
        }
    }

    fn parse(&mut self) -> Vec<Fault> {
        let mut faults = Vec::new();
        // Style sheets have braces of their own.
        let templates = self
            .sources
            .iter()
            .filter(|(name, _)| ending(name) != "css");
        for (name, source) in templates {
            let text = source.text.clone();
            if let Err(error) = self.environment.add_template_owned(*name, text) {
                faults.push(blame(name, source.file.as_deref(), &error));
            }
        }
        faults
    }

    /// Whether an operator's file replaces any of them.
    pub fn are_replaced(&self) -> bool {
        self.sources.values().any(|source| source.file.is_some())
    }

    /// The text of a file that is no template.
    pub fn text(&self, name: &str) -> &str {
        self.sources.get(name).map_or("", |source| &source.text)
    }

    /// Fills a template in.
    ///
    /// # Errors
    ///
    /// There is none of this name, or it says something that it is not given.
    pub fn render(&self, name: &str, words: Value) -> Result<String, Error> {
        self.environment.get_template(name)?.render(words)
    }

    /// Where an error of [`render`](Self::render) is.
    pub fn fault(&self, error: &Error) -> Fault {
        let innermost = innermost(error);
        let name = innermost.name().unwrap_or_default();
        let file = self
            .sources
            .get(name)
            .and_then(|source| source.file.as_deref());
        blame(name, file, innermost)
    }
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    syntax.keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    // Errors would otherwise carry the values, and with them the links.
    environment.set_debug(false);
    environment.set_auto_escape_callback(|name| {
        if ending(name) == "html" {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    Ok(environment)
}

/// The files of a folder and of those in it, by their names as templates. Hidden ones are left
/// out.
fn collect(
    folder: &Path,
    prefix: &str,
    found: &mut BTreeMap<String, PathBuf>,
) -> Result<(), Fault> {
    let unreadable = |error: &io::Error| fault(folder, format!("cannot be read: {error}"));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            // Templates are one folder deep at most.
            if prefix.is_empty() {
                collect(&path, &format!("{name}/"), found)?;
            }
        } else {
            found.insert(format!("{prefix}{name}"), path);
        }
    }
    Ok(())
}

/// What a name has after its last dot.
fn ending(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

fn read(file: &Path) -> Result<String, Fault> {
    let text = || {
        if fs::metadata(file)?.len() > MAX_BYTES {
            return Err(io::Error::other("it is longer than 256 KiB"));
        }
        fs::read_to_string(file)
    };
    text().map_err(|error: io::Error| fault(file, format!("cannot be read: {error}")))
}

fn fault(file: &Path, message: String) -> Fault {
    Fault {
        file: file.display().to_string(),
        line: None,
        message,
    }
}

fn blame(name: &str, file: Option<&Path>, error: &Error) -> Fault {
    let detail = error.detail().map(|detail| format!(": {detail}"));
    Fault {
        file: file.map_or_else(|| name.to_owned(), |file| file.display().to_string()),
        line: error.line(),
        message: format!("{}{}", error.kind(), detail.unwrap_or_default()),
    }
}

/// The error that began it, where a template failed inside of another one.
fn innermost(error: &Error) -> &Error {
    let mut innermost = error;
    let mut source = error.source();
    while let Some(cause) = source {
        match cause.downcast_ref::<Error>() {
            Some(cause) if cause.line().is_some() => innermost = cause,
            Some(_) | None => (),
        }
        source = cause.source();
    }
    innermost
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    const BUILT_IN: BuiltIn = &[
        ("layout.html", "<p>{% block words %}{% endblock %}</p>\n"),
        (
            "fr/page.html",
            "{% extends \"layout.html\" %}\n{% block words %}{{ name }}{% endblock %}\n",
        ),
        ("style.css", "a { b: c; }"),
    ];

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let folder = folder(files);
        let Err(Faults(faults)) = Templates::load(BUILT_IN, Some(folder.path())) else {
            return Vec::new();
        };
        let root = format!("{}/", folder.path().display());
        faults
            .iter()
            .map(|fault| fault.to_string().replace(&root, ""))
            .collect()
    }

    #[test]
    fn a_file_replaces_the_template_of_its_name_alone() {
        let folder = folder(&[("layout.html", "<b>{% block words %}{% endblock %}</b>")]);
        let own = Templates::load(BUILT_IN, None).unwrap();
        let replaced = Templates::load(BUILT_IN, Some(folder.path())).unwrap();
        let render = |templates: &Templates| {
            templates
                .render("fr/page.html", context! { name => "<i>" })
                .unwrap()
        };
        assert_eq!(render(&own), "<p>&lt;i&gt;</p>\n");
        assert_eq!(render(&replaced), "<b>&lt;i&gt;</b>");
        assert!(replaced.are_replaced() && !own.are_replaced());
        assert_eq!(replaced.text("style.css"), "a { b: c; }");
    }

    #[test]
    fn a_folder_that_is_not_there_replaces_nothing() {
        let folder = folder(&[]);
        let missing = folder.path().join("missing");
        assert!(
            !Templates::load(BUILT_IN, Some(&missing))
                .unwrap()
                .are_replaced()
        );
    }

    #[test]
    fn a_file_that_is_no_template_is_refused_with_its_line() {
        let faults = faults(&[("layout.html", "<p>\n{% block words %}\n")]);
        let [fault] = faults.as_slice() else {
            panic!("{faults:?}")
        };
        assert!(fault.starts_with("layout.html:"), "{fault}");
        assert!(fault.contains(": syntax error"), "{fault}");
    }

    #[test]
    fn a_file_that_replaces_nothing_is_a_mistake() {
        let faults = faults(&[("fr/pgae.html", ""), (".hidden", "")]);
        let [fault] = faults.as_slice() else {
            panic!("{faults:?}")
        };
        assert!(
            fault.starts_with("fr/pgae.html: replaces nothing"),
            "{fault}"
        );
    }

    #[test]
    fn a_word_that_is_not_given_is_found_in_its_file_and_line() {
        let folder = folder(&[(
            "layout.html",
            "<p>\n{% block words %}{% endblock %}\n{{ nmae }}",
        )]);
        let templates = Templates::load(BUILT_IN, Some(folder.path())).unwrap();
        let error = templates
            .render("fr/page.html", context! { name => "secret" })
            .unwrap_err();
        let fault = templates.fault(&error);
        assert_eq!(
            fault.file,
            folder.path().join("layout.html").display().to_string()
        );
        assert_eq!(fault.line, Some(3));
        assert!(!fault.message.contains("secret"), "{fault}");
    }
}
