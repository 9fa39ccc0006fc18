//! `make demo`: its scenes, and the pages that it names.

use std::{path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use crate::harness::{
    SOON,
    client::{self, Request, Version},
    within,
};

/// Asks a process to stop when the test ends, however it ends: the demo then ends what it has started.
struct Demo(Child);

impl Demo {
    /// Does nothing where it has ended and was waited for.
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // It may end between the look and the signal.
            let _ = kill_process(id, signal);
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

#[tokio::test]
async fn the_demo_shows_what_it_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let demo = Command::new("python3")
        .arg(root.join("scripts/demo.py"))
        .env("LUTHIEN", env!("CARGO_BIN_EXE_luthien"))
        .env("LUTHIEN_ADMIN_TRACE_URL", "https://traces.example/?call={call_id}")
        // Of another gateway of the user's: they must not disturb.
        .env("LUTHIEN_PORT", "1")
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: HOME }")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut demo = Demo(demo);
    let mut printed = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let all = async {
        while !said.contains("Ctrl-C") {
            match printed.next_line().await.unwrap() {
                Some(line) => said.extend([&*line, "\n"]),
                None => panic!("the demo ended after:\n{said}"),
            }
        }
    };
    within(2 * SOON, "the scenes", all).await;
    let scenes: Vec<&str> = said.split("\n\n").collect();
    let [_, word, tool, stall, pages, _] = scenes[..] else { panic!("{said}") };
    assert!(word.contains("said   ") && word.contains("Say hello to Project Falcon"), "{word}");
    assert!(word.contains("Say hello to the project"), "{word}");
    assert!(tool.contains("+ call delete_file {") && tool.contains("[deleting files is not allowed here]"), "{tool}");
    assert!(stall.contains("the client got") && stall.contains("timeouts.stall"), "{stall}");
    let traces = said.matches("https://traces.example/?call=0").count();
    assert_eq!(traces, 3, "{said}");

    let links: Vec<&str> = said.split_whitespace().filter(|word| word.starts_with("http://127.0.0.1:")).collect();
    assert_eq!(links.len(), 2 + 2 + 1 + 3, "{said}");
    let client = links.last().unwrap().trim_start_matches("http://");
    for link in &links[..links.len() - 1] {
        let (address, path) = link.trim_start_matches("http://").split_once('/').unwrap();
        let request = Request::new("GET", &format!("/{path}")).header("accept", "text/html");
        let page = client::send(Version::Http1, address.parse().unwrap(), request).await.finish().await;
        assert_eq!(page.status, 200, "{link}");
        assert!(pages.contains(link) || page.text().contains("/debug/calls/"), "{link}");
    }

    demo.signal(Signal::INT);
    assert!(within(SOON, "the demo's end", demo.0.wait()).await.unwrap().success());
    assert!(TcpStream::connect(client).await.is_err(), "the demo's gateway goes on");
}
