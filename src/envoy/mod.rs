//! Everything about running Envoy: its configuration and its process.
//!
//! [`bootstrap()`] is the only place where Envoy's configuration is written. `luthien up`, `luthien envoy-config`, the
//! chart and the compose file all use its output, so what is tested is what runs. [`Supervisor`] runs Envoy as a child.
//!
//! This module deliberately knows no policy, no dialect and no protobuf: it says *where* calls go and what Envoy does
//! when Luthien is not there; what happens to a call is decided over the ext_proc stream, elsewhere.
//!
//! Read [`Placement`] first: it holds what differs between a laptop, a container and a pod.

mod access_log;
mod address;
mod admin;
mod bootstrap;
mod clusters;
pub mod doctor;
mod drain;
mod exec;
mod extproc_filter;
mod find;
mod headers;
mod listener;
mod local_reply;
mod path;
mod ports;
mod routes;
mod stats;
mod supervise;
mod timers;
mod tls;
mod tracer;
mod yaml;

pub use address::{Address, AddressError};
pub use admin::{AdminClient, AdminError, ask, ask_at_length};
pub use bootstrap::{AccessLog, BootstrapError, Mode, POD_DIR, Placement, bootstrap, system_ca};
pub use drain::{Left, Patience, empty};
pub use exec::{ExecError, ExecPlan, INHERITED, exec_envoy};
pub use find::{FindError, find_envoy, tool_folders};
pub use path::read_path;
pub use ports::{PortError, SocketDir, ensure_free, socket_dir};
pub use supervise::{Death, Launch, StartError, Supervisor, default_concurrency};
pub use tls::secret_files;
pub use tracer::Tracer;
pub use yaml::{YamlError, to_yaml};
