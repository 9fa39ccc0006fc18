//! Envoy as a child: started, stopped, found dead, and never left behind.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use luthien::envoy::{StartError, Supervisor};

use super::gateway::Gateway;

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn it_starts_answers_and_stops() {
    let gateway = Gateway::new();
    let supervisor = gateway.start().await.unwrap();
    supervisor.admin().ready().await.unwrap();
    supervisor.admin().drain().await.unwrap();
    let death = supervisor.stop(GRACE).await;
    assert_eq!((death.code, death.signal), (Some(0), None), "{death}");
}

#[tokio::test]
async fn a_configuration_that_envoy_rejects_is_told_with_envoys_reason() {
    let gateway = Gateway::new();
    let launch = gateway.launch();
    std::fs::write(&launch.config, "no_such_field: 1\n").unwrap();
    let error = Supervisor::start(launch).await.unwrap_err();
    assert!(matches!(error, StartError::Died { .. }), "{error}");
    assert!(error.to_string().contains("no_such_field"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_not_a_shared_port() {
    let mut gateway = Gateway::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    gateway.settings.listen = taken.local_addr().unwrap().to_string();
    let error = gateway.start().await.unwrap_err();
    assert!(error.to_string().contains(&gateway.settings.listen), "{error}");
}

#[tokio::test]
async fn an_envoy_that_is_missing_is_told_with_the_remedy() {
    let gateway = Gateway::new();
    let mut launch = gateway.launch();
    launch.envoy = PathBuf::from("/nowhere/envoy");
    let error = Supervisor::start(launch).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/envoy") && error.contains("make tools"), "{error}");

    let mut launch = gateway.launch();
    launch.through = vec!["/nowhere/luthien".into()];
    let error = Supervisor::start(launch).await.unwrap_err();
    assert!(matches!(error, StartError::Spawn { .. }), "{error}");
}

#[tokio::test]
async fn an_envoy_that_dies_is_noticed() {
    let gateway = Gateway::new();
    let mut supervisor = gateway.start().await.unwrap();
    let me = std::process::id();
    let envoy =
        children(me).into_iter().find(|pid| command_line(*pid).contains(&*gateway.dir.path().to_string_lossy()));
    kill(envoy.expect("Envoy is a child of this process"));
    let death = supervisor.wait().await;
    assert_eq!(death.signal, Some(9), "{death}");
    assert_eq!(supervisor.wait().await, death, "it may be asked again");
    assert_eq!(supervisor.stop(GRACE).await, death);
}

#[tokio::test]
async fn a_dropped_supervisor_leaves_nothing() {
    let gateway = Gateway::new();
    let supervisor = gateway.start().await.unwrap();
    let admin = supervisor.admin().clone();
    drop(supervisor);
    until("Envoy to end", || command_lines_with(&gateway.dir.path().to_string_lossy()).is_empty());
    admin.ready().await.unwrap_err();
}

/// A parent that is killed with SIGKILL cannot clean up; the kernel must.
#[test]
fn a_killed_parent_takes_its_child_along() {
    let luthien = env!("CARGO_BIN_EXE_luthien");
    let mark = format!("{}.5", 900_000 + std::process::id());
    let script = format!("{luthien} exec-envoy --parent $$ -- /bin/sleep {mark} & wait");
    let mut parent = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    let sleep = format!("/bin/sleep\0{mark}");
    // From its beginning: before it becomes `sleep`, the child has these words among its arguments.
    until("the child to run", || pids().into_iter().any(|pid| command_line(pid).starts_with(&sleep)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the child to end", || command_lines_with(&sleep).is_empty());
}

#[test]
fn a_parent_that_is_already_gone_has_no_child() {
    let output = Command::new(env!("CARGO_BIN_EXE_luthien"))
        .args(["exec-envoy", "--parent", "1", "--", "/bin/echo", "I ran"])
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("process 1, for which Envoy was to run, is gone"));
}

/// Waits for what another process does. The limit is for a broken test only.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn pids() -> Vec<u32> {
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn command_lines_with(text: &str) -> Vec<u32> {
    pids().into_iter().filter(|pid| command_line(*pid).contains(text)).collect()
}

fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state ppid …`, proc_pid_stat(5); the name may hold anything, so from its end.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(&parent.to_string())
    };
    pids().into_iter().filter(is_child).collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
