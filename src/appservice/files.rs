//! Finds and reads the registration files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ruma::ServerName;

use super::{RegistrationError, Registry};

/// How large a registration file may be, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads registration files, and those in folders, in the order of their names. Reads the disk.
///
/// # Errors
/// All that is wrong with them.
pub fn load(
    paths: &[PathBuf],
    server_name: &ServerName,
) -> Result<Registry, Vec<RegistrationError>> {
    let mut errors = Vec::new();
    let mut texts = Vec::new();
    for path in paths {
        let read = list(path).and_then(|files| {
            let texts = files.into_iter().map(|file| {
                let text = read(&file)?;
                Ok((file.display().to_string(), text))
            });
            texts.collect::<io::Result<Vec<_>>>()
        });
        match read {
            Ok(read) => texts.extend(read),
            Err(error) => {
                let name = path.display().to_string();
                errors.push(RegistrationError::new(
                    &name,
                    format!("cannot be read: {error}"),
                ));
            }
        }
    }
    let files = texts.iter().map(|(name, text)| (&**name, &**text));
    match Registry::parse(files, server_name) {
        Ok(registry) if errors.is_empty() => Ok(registry),
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

/// The file, or the files of the folder.
fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is too large"));
    }
    fs::read_to_string(file)
}
