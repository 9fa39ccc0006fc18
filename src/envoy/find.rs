//! Finds the Envoy binary.

use std::fs;
use std::path::{Path, PathBuf};

/// No usable Envoy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The one that was named is none.
    #[error(
        "LUTHIEN_ENVOY names `{}`, which is not an executable file; correct it, or unset it and run `make tools`",
        path.display()
    )]
    Named {
        /// As given.
        path: PathBuf,
    },
    /// None is installed.
    #[error(
        "there is no Envoy below {}; run `make tools` (or scripts/install-envoy.sh) to install it, or set LUTHIEN_ENVOY \
         to the path of an Envoy 1.40 that you have",
        tools.iter().map(|tools| format!("`{}`", tools.display())).collect::<Vec<_>>().join(", ")
    )]
    Absent {
        /// Where it was looked for.
        tools: Vec<PathBuf>,
    },
}

/// The Envoy to run: `named` (from `LUTHIEN_ENVOY`) if given, otherwise the one that `scripts/install-envoy.sh` put
/// below one of `tools` (see [`tool_folders`]). An `envoy` on the search path is not taken: it may be of any version, and before 1.40 the
/// behaviour that Luthien is built on differs.
pub fn find_envoy(named: Option<&Path>, tools: &[PathBuf]) -> Result<PathBuf, FindError> {
    if let Some(path) = named {
        return if is_executable(path) { Ok(path.to_owned()) } else { Err(FindError::Named { path: path.to_owned() }) };
    }
    tools.iter().find_map(|tools| installed(tools)).ok_or_else(|| FindError::Absent { tools: tools.to_vec() })
}

/// The folders below which an Envoy may be installed: `.tools` in `folder`, and in the folders above `program`, so that a
/// program built in a checkout finds the checkout's Envoy from wherever it is started.
pub fn tool_folders(folder: &Path, program: Option<&Path>) -> Vec<PathBuf> {
    let above = program.into_iter().flat_map(Path::ancestors).skip(1).map(|folder| folder.join(".tools"));
    std::iter::once(folder.join(".tools")).chain(above.filter(|tools| tools.is_dir())).collect()
}

/// The Python version is part of the path; the newest wins if there are several.
fn installed(tools: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(tools.join("envoy/lib"))
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("site-packages/envoy/_bin/envoy"))
        .filter(|path| is_executable(path))
        .collect();
    found.sort();
    found.pop()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_errors_say_how_to_install_it() {
        let dir = tempfile::tempdir().unwrap();
        let absent = find_envoy(None, &[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(absent.contains("make tools") && absent.contains("LUTHIEN_ENVOY"), "{absent}");
        let named = find_envoy(Some(dir.path()), &[]).unwrap_err().to_string();
        assert!(named.contains("not an executable file"), "{named}");
    }

    #[test]
    fn an_installed_one_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("envoy/lib/python3.11/site-packages/envoy/_bin");
        fs::create_dir_all(&bin).unwrap();
        let envoy = bin.join("envoy");
        fs::write(&envoy, "").unwrap();
        assert!(find_envoy(None, &[dir.path().to_owned()]).is_err(), "a file that cannot run is no Envoy");
        fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_envoy(None, &[dir.path().to_owned()]), Ok(envoy));
    }
}
