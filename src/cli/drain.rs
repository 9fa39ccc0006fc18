//! `luthien drain`: what runs before the containers of a pod end, so that no call is cut off.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use crate::{
    app::{CONTROL_SOCKET, ControlError, LAST_WORDS, end_calls},
    envoy::{Address, AdminClient, AdminError, Left, POD_DIR, Patience, empty},
};

/// Let Envoy end its calls, before it is asked to end: for the `preStop` of its container and of Luthien's
///
/// The listener's health check fails from now on, connections are closed with their next answer, and calls that still come
/// are served. Returns when none is in flight. When the time is over, those that still are end with their dialect's error
/// event. May run several times at once. Where the folder has no Envoy, because that is elsewhere, it only gives it the time to
/// notice.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// How long calls in flight may take.
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = humantime::parse_duration)]
    pub wait: Duration,
    /// How long to serve at least, because who sends calls here has to notice first.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub notice: Duration,
    /// The folder with the sockets of Envoy and Luthien.
    #[arg(long, value_name = "DIR", default_value = POD_DIR)]
    pub dir: PathBuf,
}

/// Why calls may have been cut off.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// There never was an Envoy, nor a Luthien.
    #[error("{} has the sockets of nobody; name the folder of Envoy's and Luthien's with --dir", dir.display())]
    Nobody {
        /// The folder.
        dir: PathBuf,
    },
    /// Envoy cannot be asked.
    #[error("{0}; nobody knows whether calls are in flight, so they are not waited for")]
    Silent(#[from] AdminError),
    /// Luthien cannot be asked.
    #[error("{calls} calls are in flight after {wait:?}, and Luthien cannot be asked to end them: {error}")]
    Control {
        /// How many.
        calls: u64,
        /// How long they were waited for.
        wait: Duration,
        /// What happened.
        error: ControlError,
    },
    /// Calls go on although they were ended.
    #[error("{0} calls are in flight although they were ended; Envoy cuts them off when it ends")]
    Calls(u64),
    /// Standard output is closed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Waits until no call is in flight; ends those that take too long.
pub async fn run(args: &DrainArgs, out: &mut dyn Write) -> Result<(), DrainError> {
    let &DrainArgs { wait, notice, ref dir } = args;
    let socket = dir.join("envoy-admin.sock");
    if !socket.exists() {
        if !dir.join(CONTROL_SOCKET).exists() {
            return Err(DrainError::Nobody { dir: dir.clone() });
        }
        // Its Envoys are elsewhere, and have to notice that it goes.
        tokio::time::sleep(notice).await;
        return Ok(writeln!(
            out,
            "Luthien serves an Envoy elsewhere; asked to end, it ends its calls (timeouts.drain)"
        )?);
    }
    let admin = AdminClient::new(Address::Pipe(socket));
    let calls = match empty(&admin, Patience { notice, wait }).await? {
        Left::Empty => return Ok(writeln!(out, "no call is in flight")?),
        Left::Gone => return Ok(writeln!(out, "Envoy has ended; there is nothing to wait for")?),
        Left::Calls(calls) => calls,
    };
    writeln!(out, "{calls} calls are in flight after {wait:?}; Luthien ends them")?;
    end(dir, calls, wait).await?;
    // What they end with has to reach the clients.
    match empty(&admin, Patience { notice: Duration::ZERO, wait: LAST_WORDS }).await? {
        Left::Empty | Left::Gone => Ok(writeln!(out, "no call is in flight")?),
        Left::Calls(calls) => Err(DrainError::Calls(calls)),
    }
}

async fn end(dir: &Path, calls: u64, wait: Duration) -> Result<(), DrainError> {
    end_calls(dir).await.map_err(|error| DrainError::Control { calls, wait, error })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_an_envoy_there_is_only_time_to_notice_and_without_anybody_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let notice = Duration::from_secs(7);
        let args = DrainArgs { wait: Duration::from_mins(5), notice, dir: dir.path().to_owned() };
        let mut said = Vec::new();
        let error = run(&args, &mut said).await.unwrap_err().to_string();
        assert!(error.contains("--dir") && said.is_empty(), "{error}");
        std::fs::write(dir.path().join(CONTROL_SOCKET), "").unwrap();
        let begun = Instant::now();
        run(&args, &mut said).await.unwrap();
        assert_eq!(begun.elapsed(), notice);
        assert!(String::from_utf8(said).unwrap().contains("timeouts.drain"));
    }
}
