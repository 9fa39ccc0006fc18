//! Ports and Unix sockets: checked before Envoy is started, because Luthien can say more about what is wrong.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A Unix socket's path may have 107 bytes on Linux and 103 on macOS; ours have at most this many after the directory.
const LONGEST_DIRECTORY: usize = 76;

/// An address on which nothing can listen.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Something else listens there.
    #[error(
        "cannot listen on {address} for {role}: the port is taken{holder}; stop that, or set {variable} to another port"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// For whom it is.
        role: &'static str,
        /// ` by NAME (process PID)`, if that can be seen.
        holder: String,
        /// The variable that changes the port.
        variable: &'static str,
    },
    /// A port below 1024.
    #[error(
        "cannot listen on {address} for {role}: that port is for the administrator; set {variable} to one above 1023"
    )]
    Privileged {
        /// The address.
        address: SocketAddr,
        /// For whom it is.
        role: &'static str,
        /// The variable that changes the port.
        variable: &'static str,
    },
    /// Anything else, as an address that this machine does not have.
    #[error("cannot listen on {address} for {role}: {error}; set {variable} or correct the address")]
    Other {
        /// The address.
        address: SocketAddr,
        /// For whom it is.
        role: &'static str,
        /// The variable that changes the port.
        variable: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// Succeeds if one could listen on `address` now. `role` is for people (`clients`), `variable` names the environment
/// variable that changes the port (`LUTHIEN_PORT`).
pub fn ensure_free(address: SocketAddr, role: &'static str, variable: &'static str) -> Result<(), PortError> {
    // Port 0 asks for any free port, which there is. Envoy sets SO_REUSEADDR, as `bind` does here: connections of a
    // process that has just ended do not count.
    match TcpListener::bind(address).map_err(|error| (error.kind(), error)) {
        Ok(_) => Ok(()),
        Err((io::ErrorKind::AddrInUse, _)) => {
            let holder = holder(address.port()).unwrap_or_default();
            Err(PortError::Taken { address, role, holder, variable })
        }
        Err((io::ErrorKind::PermissionDenied, _)) => Err(PortError::Privileged { address, role, variable }),
        Err((_, error)) => Err(PortError::Other { address, role, variable, error }),
    }
}

/// ` by NAME (process PID)` for whoever listens on `port`, as far as Linux's /proc shows it to us.
fn holder(port: u16) -> Option<String> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<String> =
        sockets.flat_map(|table| table.lines().filter_map(|line| listening(line, port)).collect::<Vec<_>>()).collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd")).ok()?.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|target| {
                inodes.iter().any(|inode| target.as_os_str() == format!("socket:[{inode}]").as_str())
            })
        });
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        holds.then(|| format!(" by `{}` (process {pid})", name.trim()))
    })
}

/// The inode of the socket in a line of /proc/net/tcp, if it listens (state 0A) on `port`. Format: `proc_pid_net(5)`.
fn listening(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let (_, hex) = local.rsplit_once(':')?;
    (state == "0A" && u16::from_str_radix(hex, 16) == Ok(port)).then(|| inode.to_owned())
}

/// A directory for Unix sockets. Removed with its contents when dropped, if it is a temporary one.
#[derive(Debug)]
pub struct SocketDir {
    path: PathBuf,
    temporary: bool,
}

impl SocketDir {
    /// Absolute, so that it means the same to Envoy.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "temporary socket directory stays");
        }
    }
}

/// The directory for our Unix sockets: `state` itself, or, where that would make their paths too long for the kernel, a
/// fresh directory below the system's temporary one that only our user can enter.
pub fn socket_dir(state: &Path) -> io::Result<SocketDir> {
    let path = std::path::absolute(state)?;
    if path.as_os_str().len() <= LONGEST_DIRECTORY {
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        return Ok(SocketDir { path, temporary: false });
    }
    let path = std::env::temp_dir().join(format!("luthien-{}", Uuid::now_v7().simple()));
    // Not recursive: a directory that is already there would be somebody else's.
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(SocketDir { path, temporary: true })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_taken_port_names_the_holder_and_the_variable() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = ensure_free(address, "clients", "LUTHIEN_PORT").unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("LUTHIEN_PORT"), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        }
        drop(held);
        ensure_free(address, "clients", "LUTHIEN_PORT").unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_its_own_error() {
        let error = ensure_free("192.0.2.1:8080".parse().unwrap(), "clients", "LUTHIEN_PORT").unwrap_err();
        assert!(matches!(error, PortError::Other { .. }), "{error}");
    }

    #[test]
    fn a_short_state_directory_holds_the_sockets() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("s");
        let dir = socket_dir(&state).unwrap();
        assert_eq!(dir.path(), state);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        drop(dir);
        assert!(state.is_dir(), "the state directory is not ours to remove");
    }

    #[test]
    fn a_long_one_does_not() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("x".repeat(90));
        let dir = socket_dir(&state).unwrap();
        let path = dir.path().to_owned();
        assert!(path.as_os_str().len() <= LONGEST_DIRECTORY, "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::net::UnixListener::bind(path.join("envoy-admin.sock")).unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}
