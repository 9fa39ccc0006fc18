//! What is measured, started: an Envoy, and beside it an external processor.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use luthien::{
    config::{environment::Environment, load::load},
    envoy::{AccessLog, Placement, bootstrap, find_envoy},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::{plan::Subject, process::Process, provider::JUDGE};

/// The name of the upstream.
pub(crate) const UPSTREAM: &str = "provider";
const START: Duration = Duration::from_secs(30);

/// A subject that runs.
pub(crate) struct Running {
    pub(crate) subject: Subject,
    pub(crate) listen: SocketAddr,
    pub(crate) envoy: Process,
    /// Luthien or the echo.
    pub(crate) processor: Option<Process>,
    _folder: TempDir,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a loopback port is free")
}

impl Running {
    pub(crate) async fn start(subject: Subject, provider: SocketAddr, program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        let (listen, admin) = (free_port(), free_port());
        fs::write(root.join("luthien.yaml"), settings(subject, listen, admin, provider)).expect("it is writable");
        fs::write(root.join("policy.yaml"), rules(subject)).expect("it is writable");
        let loaded = load(&root.join("luthien.yaml"), &[], &Environment::of_process())
            .unwrap_or_else(|report| panic!("the settings are wrong: {report:?}"));
        fs::create_dir_all(&loaded.state).expect("it is writable");
        let mut placement = Placement::local(&loaded.state, &loaded.state);
        placement.access_log = AccessLog::Off;
        let socket = placement.extproc.to_string();
        let socket = Path::new(socket.trim_start_matches("unix:")).to_owned();
        let mut config = bootstrap(&loaded.settings, &placement).expect("the settings give a configuration");
        if subject == Subject::Alone {
            go_alone(&mut config);
        }
        let path = root.join("envoy.json");
        fs::write(&path, config.to_string()).expect("it is writable");
        let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let processor = match subject {
            Subject::Alone => None,
            Subject::Echo => {
                let this = std::env::current_exe().expect("this program has a path");
                Some(Process::start(&this, &["echo", &text(&socket)], root.join("processor.log")))
            }
            Subject::Bare
            | Subject::Noop
            | Subject::Replacement
            | Subject::ToolFilter
            | Subject::Recording
            | Subject::Judge => {
                let (config, state) = (text(&root.join("luthien.yaml")), text(&loaded.state));
                let arguments = ["serve", "--config", &config, "--state-dir", &state];
                Some(Process::start(program, &arguments, root.join("processor.log")))
            }
        };
        let tools = Path::new(env!("CARGO_MANIFEST_DIR"));
        let envoy = std::env::var_os("LUTHIEN_ENVOY");
        let envoy = find_envoy(envoy.as_deref().map(Path::new), &luthien::envoy::tool_folders(tools, None))
            .expect("`make tools` installs Envoy");
        let arguments = ["-c", &text(&path), "--disable-hot-restart", "--concurrency", "1", "-l", "warn"];
        let envoy = Process::start(&envoy, &arguments, root.join("envoy.log"));
        let mut running = Self { subject, listen, envoy, processor, _folder: folder };
        running.ready().await;
        running
    }

    /// Waits until calls get through.
    async fn ready(&mut self) {
        let deadline = Instant::now() + START;
        while !answers(self.listen).await {
            self.check();
            assert!(Instant::now() < deadline, "{} is not ready after {START:?}; {}", self.subject.name(), self.logs());
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn logs(&self) -> String {
        let logs = [Some(&self.envoy), self.processor.as_ref()].into_iter().flatten().map(Process::printed);
        logs.collect::<Vec<_>>().join("\n")
    }

    /// Panics if a process of it has ended.
    pub(crate) fn check(&mut self) {
        self.envoy.check();
        if let Some(processor) = &mut self.processor {
            processor.check();
        }
    }
}

/// Whether a call gets an answer.
async fn answers(listen: SocketAddr) -> bool {
    let body = r#"{"model":"m-1","max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#;
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-api-key: sk-ant-bench\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut stream) = TcpStream::connect(listen).await else { return false };
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

fn settings(subject: Subject, listen: SocketAddr, admin: SocketAddr, provider: SocketAddr) -> String {
    let level = if subject == Subject::Recording { "full" } else { "off" };
    format!(
        "listen: {listen}\nadmin: {{ listen: \"{admin}\" }}\nrules: policy.yaml\nlog: {{ level: warn }}\nrecording: {{ level: {level} }}\nupstreams:\n  \
         - {{ name: {UPSTREAM}, url: \"http://{provider}\", dialects: [anthropic_messages], models: [\"m-*\"] }}\n  \
         - {{ name: {JUDGE}, url: \"http://{provider}\", dialects: [openai_chat], models: [{JUDGE}] }}\n"
    )
}

fn rules(subject: Subject) -> String {
    let policy = match subject {
        Subject::Alone | Subject::Echo | Subject::Bare => return "policies: []\n".to_owned(),
        Subject::Noop | Subject::Recording => "type: noop".to_owned(),
        // Words that come up now and then, and one that a delta may begin.
        Subject::Replacement => {
            "type: string_replacement, config: { replacements: { gateway: \"gatehouse\", secret: \"***\" } }".to_owned()
        }
        Subject::ToolFilter => "type: tool_filter, config: { deny: [\"bash\", \"shell_*\"] }".to_owned(),
        Subject::Judge => format!(
            "type: llm_judge, config: {{ judge: {{ upstream: {JUDGE}, model: {JUDGE} }}, instructions: \"Be kind.\", blocks: [text], \
             cache_ttl: 0s }}"
        ),
    };
    format!("policies:\n  - {{ name: measured, {policy} }}\n")
}

/// Takes the external processor out; everything goes to the one provider.
fn go_alone(config: &mut Value) {
    visit(config, &mut |value| {
        if let Some(filters) = value.get_mut("http_filters").and_then(Value::as_array_mut) {
            filters.retain(|filter| filter["name"] != "envoy.filters.http.ext_proc");
        }
        if let Some(fields) = value.as_object_mut() {
            fields.remove("typed_per_filter_config");
            if fields.remove("cluster_header").is_some() {
                fields.insert("cluster".to_owned(), json!(UPSTREAM));
            }
        }
    });
}

fn visit(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    change(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| visit(field, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
