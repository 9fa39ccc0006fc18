//! Opens sockets and ports.

use std::{io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::{AppError, control};
use crate::{
    config::settings::Settings,
    envoy::Address,
    extproc::{Identity, Listener},
};

/// The socket of `luthien drain`, in the folder in which Envoy finds the external processor: who ends it finds both.
pub(super) async fn bind_control(extproc: &Address, sockets: &Path) -> Result<UnixListener, AppError> {
    let path = match extproc {
        Address::Pipe(path) => path.with_file_name(control::SOCKET),
        Address::Socket { .. } => sockets.join(control::SOCKET),
    };
    bind_unix(&path, "control").await
}

pub(super) async fn bind_extproc(settings: &Settings, sockets: &Path) -> Result<(Listener, Address), AppError> {
    let listen = settings.extproc.listen.as_deref().unwrap_or("unix:extproc.sock");
    let Some(path) = listen.strip_prefix("unix:") else {
        let listener = bind_tcp(listen, "ext_proc", "change `extproc.listen`").await?;
        let address = local_address(&listener, listen)?;
        let listener = match &settings.extproc.tls {
            Some(files) => Listener::Tls(listener, Arc::new(Identity::load(files.clone())?)),
            None => Listener::Tcp(listener),
        };
        return Ok((listener, address.into()));
    };
    let path = sockets.join(path);
    Ok((Listener::Unix(bind_unix(&path, "ext_proc").await?), Address::Pipe(path)))
}

async fn bind_unix(path: &Path, role: &'static str) -> Result<UnixListener, AppError> {
    let failed = |error| AppError::Listen {
        address: format!("unix:{}", path.display()),
        role,
        error,
        remedy: "name another folder with --state-dir",
    };
    if UnixStream::connect(path).await.is_ok() {
        return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, "another luthien uses this state folder")));
    }
    // What is left of a process that was killed.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever can connect to one of ours can read or end every call.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

pub(super) async fn bind_tcp(listen: &str, role: &'static str, remedy: &'static str) -> Result<TcpListener, AppError> {
    TcpListener::bind(listen).await.map_err(|error| AppError::Listen {
        address: listen.to_owned(),
        role,
        error,
        remedy,
    })
}

pub(super) fn local_address(listener: &TcpListener, listen: &str) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(|error| AppError::Listen {
        address: listen.to_owned(),
        role: "the listener",
        error,
        remedy: "choose another address",
    })
}
