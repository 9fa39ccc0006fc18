//! A folder as kubelet mounts a Secret or a `ConfigMap`: what changes is a symbolic link, and with it every file at once.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A mounted folder.
pub(crate) struct Mounted {
    folder: TempDir,
    version: u32,
}

impl Mounted {
    /// With these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let mut mounted = Self { folder: tempfile::tempdir().expect("a temporary directory"), version: 0 };
        mounted.swap(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mounted.path(name)).expect("the temporary directory is writable");
        }
        mounted
    }

    /// Where a file is found.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts all of these in the place of those before.
    pub(crate) fn swap(&mut self, files: &[(&str, &str)]) {
        self.version += 1;
        let (version, link) = (format!("..{}", self.version), self.path("..data_tmp"));
        fs::create_dir(self.path(&version)).expect("the temporary directory is writable");
        for (name, content) in files {
            fs::write(self.path(&version).join(name), content).expect("the temporary directory is writable");
        }
        symlink(&version, &link).expect("the temporary directory is writable");
        fs::rename(&link, self.path("..data")).expect("the temporary directory is writable");
        let before = self.path(&format!("..{}", self.version - 1));
        if before.is_dir() {
            fs::remove_dir_all(before).expect("it is ours");
        }
    }
}
