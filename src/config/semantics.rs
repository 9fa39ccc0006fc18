//! What the schema of the settings cannot say: how keys fit each other and the world around them.
//!
//! Works on the document and not on [`Settings`](super::settings::Settings), key by key, so that one key with a wrong
//! type does not hide what is wrong with the others.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use globset::Glob;
use regex::Regex;
use serde_json::Value;

use super::{
    document::{Document, Part},
    environment::Environment,
    recording::Recording,
    report::Problem,
    secret,
    settings::{Admin, ClientAuth, DEFAULT_LISTEN, Limits, RemoteProtocol, SecretSource},
    source,
    target::Target,
    telemetry::Traces,
    units::Size,
    yaml::child,
};
use crate::telemetry::log::read_level;

/// Everything that is wrong with settings beyond their schema. Relative files are looked for in `base`.
pub(super) fn check(document: &Document, base: &Path, environment: &Environment) -> Vec<Problem> {
    let mut check = Check { document, base, environment, problems: Vec::new() };
    check.listeners();
    check.upstreams();
    check.remotes();
    check.recording();
    check.clients();
    check.unpoliced();
    check.limits();
    check.files();
    check.log();
    check.traces();
    check.problems.extend(source::check(document));
    check.problems
}

/// What is legal and yet may not be meant: that everyone who reaches the listener spends our keys.
pub(super) fn warnings(document: &Document) -> Vec<String> {
    let listen = document.read_or("/listen", DEFAULT_LISTEN.to_owned());
    let is_open = listen.and_then(|listen| listen.parse::<SocketAddr>().ok()).is_some_and(|at| !at.ip().is_loopback());
    let asks = document.read_or("/clients/auth", ClientAuth::Passthrough);
    if !is_open || !matches!(asks, Some(ClientAuth::Passthrough)) {
        return Vec::new();
    }
    let has_key = |at: &usize| document.get(&format!("/upstreams/{at}/credentials")).is_some_and(Value::is_object);
    let names = (0..document.count("/upstreams"))
        .filter(has_key)
        .filter_map(|at| document.read_or(&format!("/upstreams/{at}/name"), String::new()));
    let warning = |name| {
        format!(
            "other machines can reach `listen`, and everyone who does uses the key of the upstream `{name}`; set \
             `clients.auth` to `keys`"
        )
    };
    names.map(warning).collect()
}

const EXTPROC_LISTEN: &str = "write `unix:` and a path, or an IP address and a port as 127.0.0.1:9000";

struct Check<'d> {
    document: &'d Document,
    base: &'d Path,
    environment: &'d Environment,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn listeners(&mut self) {
        let listen = self.address("/listen", Some(DEFAULT_LISTEN));
        let admin = self.address("/admin/listen", Some(&Admin::default().listen));
        let probe = self.address("/probe/listen", None);
        let envoys = self.address("/telemetry/metrics/envoy_listen", None);
        if let Some(admin) = admin
            && !admin.ip().is_loopback()
            && self.document.get("/admin/token").is_none()
        {
            let remedy = "listen on 127.0.0.1, or add `token: { env: … }` or `token: { file: … }` to `admin`";
            self.add("/admin/listen", "the admin listener is open to other machines and has no token", remedy);
        }
        for (one, other, pointer, name) in [
            (listen, admin, "/admin/listen", "listen"),
            (listen, probe, "/probe/listen", "listen"),
            (admin, probe, "/probe/listen", "admin.listen"),
            (listen, envoys, "/telemetry/metrics/envoy_listen", "listen"),
            (admin, envoys, "/telemetry/metrics/envoy_listen", "admin.listen"),
            (probe, envoys, "/telemetry/metrics/envoy_listen", "probe.listen"),
        ] {
            if let (Some(one), Some(other)) = (one, other)
                && collide(one, other)
            {
                let remedy = "give each listener its own port";
                self.add(pointer, format!("this is the address of `{name}`, which is {one}"), remedy);
            }
        }
        self.extproc();
        self.admin_tokens();
        let trace: Option<String> = self.document.read_as("/admin/trace_url");
        let is_url = |url: &String| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        if trace.is_some_and(|url| !is_url(&url) || !["{call_id}", "{trace_id}"].iter().any(|id| url.contains(id))) {
            let remedy = "write an http or https address with `{call_id}` in it, as https://grafana.example/explore?call={call_id}";
            self.add("/admin/trace_url", "this is no address of a call's trace", remedy);
        }
    }

    fn extproc(&mut self) {
        let (listen, tls, plaintext) = ("/extproc/listen", "/extproc/tls", "/extproc/plaintext");
        let text = self.document.read_or(listen, String::new());
        let has_tls = self.document.get(tls).is_some();
        let is_plain = self.document.read_or(plaintext, false).unwrap_or_default();
        match text.as_deref() {
            None => {}
            Some("" | "unix:") if self.document.get(listen).is_some() => {
                self.add(listen, "this is neither a Unix socket nor an address", EXTPROC_LISTEN);
            }
            Some(unix) if has_tls && (unix.is_empty() || unix.starts_with("unix:")) => {
                let remedy = "remove `tls`, or listen on an address: `listen: 0.0.0.0:9000`";
                self.add_key(tls, "a Unix socket has no TLS; it is open to our own user only", remedy);
            }
            Some(unix) if unix.is_empty() || unix.starts_with("unix:") => {}
            Some(address) => match address.parse::<SocketAddr>() {
                Err(_) => self.add(listen, "this is neither a Unix socket nor an address", EXTPROC_LISTEN),
                Ok(address) if !address.ip().is_loopback() && !has_tls && !is_plain => {
                    let remedy = "add `tls: { cert: …, key: …, client_ca: … }` to `extproc`, or, where a mesh encrypts and \
                                  asks who connects, `plaintext: true`";
                    self.add(listen, "other machines can connect and would read every call", remedy);
                }
                Ok(_) => {}
            },
        }
        if has_tls && is_plain {
            self.add_key(plaintext, "there is `tls` as well", "remove one of them");
        }
        let envoy = "/extproc/envoy";
        if self.document.get(envoy).is_some() {
            if !has_tls {
                self.add_key(envoy, "Envoy shows a certificate only where there is `tls`", "add `tls`, or remove it");
            }
            let address: Option<String> = self.document.read_as("/extproc/envoy/address");
            let is_address = |text: &String| {
                text.parse::<SocketAddr>().is_ok()
                    || text.rsplit_once(':').is_some_and(|(host, port)| {
                        !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
                    })
            };
            if address.is_some_and(|address| !is_address(&address)) {
                let remedy = "write it as luthien:9000 or 127.0.0.1:9000";
                self.add("/extproc/envoy/address", "this is no host and port", remedy);
            }
        }
        for file in ["tls/cert", "tls/key", "tls/client_ca", "envoy/cert", "envoy/key", "envoy/ca"] {
            self.file(&format!("/extproc/{file}"));
        }
    }

    fn admin_tokens(&mut self) {
        let (token, viewer) = ("/admin/token", "/admin/viewer_token");
        self.secret(token);
        self.secret(viewer);
        if self.document.get(viewer).is_none() {
            return;
        }
        if self.document.get(token).is_none() {
            let remedy = "add `token` to `admin`: without one, everyone on this machine may change everything";
            self.add_key(viewer, "there is a token for viewers and none for admins", remedy);
            return;
        }
        let read = |at: &str| {
            let source: SecretSource = self.document.read_as(at)?;
            source.read(self.base, self.environment).ok()
        };
        if let (Some(token), Some(viewer_token)) = (read(token), read(viewer))
            && token.matches(viewer_token.expose().as_bytes())
        {
            let remedy = "give viewers a token of their own";
            self.add(viewer, "this is the token of admins: whoever has it may change everything", remedy);
        }
    }

    fn upstreams(&mut self) {
        let listen = self.document.read_or("/listen", DEFAULT_LISTEN.to_owned());
        let listen = listen.and_then(|listen| listen.parse::<SocketAddr>().ok());
        for index in 0..self.document.count("/upstreams") {
            let at = format!("/upstreams/{index}");
            let url = format!("{at}/url");
            let target = self.document.read_as::<String>(&url).map(|text| text.parse::<Target>());
            match &target {
                Some(Err(fault)) => self.add(&url, format!("the URL {}", fault.message), fault.remedy),
                Some(Ok(Target::Http(target))) => {
                    let own = listen.is_some_and(|listen| listen.port() == target.port && target.port != 0);
                    if own && target.is_loopback() {
                        let message = "this is Luthien's own listener: a call would go round in circles";
                        self.add(&url, message, "write the provider's URL; unset the variable if it comes from one");
                    }
                }
                Some(Ok(Target::Demo)) | None => {}
            }
            let credentials = format!("{at}/credentials");
            self.secret(&credentials);
            self.globs(&format!("{at}/models"));
            self.file(&format!("{at}/ca"));
        }
        self.unique("/upstreams", "upstream");
    }

    fn remotes(&mut self) {
        for index in 0..self.document.count("/remotes") {
            let at = format!("/remotes/{index}");
            let secret = format!("{at}/secret");
            self.secret(&secret);
            for file in ["ca", "tls/cert", "tls/key"] {
                self.file(&format!("{at}/{file}"));
            }
            let url: Option<http::Uri> =
                self.document.read_as::<String>(&format!("{at}/url")).and_then(|url| url.parse().ok());
            if url.as_ref().is_some_and(|url| url.authority().is_some_and(|authority| authority.as_str().contains('@')))
            {
                let remedy = "remove what stands before the `@`; a secret belongs into `secret`";
                self.add(&format!("{at}/url"), "the URL holds a user", remedy);
            }
            match self.document.read_as(&format!("{at}/protocol")) {
                Some(RemoteProtocol::Webhook) => {
                    if self.document.get(&secret).is_none() {
                        let remedy = "add `secret: { env: NAME }`; the remote checks with it that a request is ours";
                        self.add(&at, "a webhook has no secret to sign its requests with", remedy);
                    }
                    if self.document.get(&format!("{at}/tls")).is_some() {
                        let remedy = "remove `tls`; a webhook knows us by the signature of each request";
                        self.add_key(&format!("{at}/tls"), "only gRPC takes a certificate of ours", remedy);
                    }
                }
                Some(RemoteProtocol::Grpc) if url.is_some_and(|url| !matches!(url.path(), "" | "/")) => {
                    let message = "the URL of a gRPC service has no path";
                    self.add(&format!("{at}/url"), message, "write scheme, host and port, as http://127.0.0.1:50051");
                }
                Some(RemoteProtocol::Grpc) | None => {}
            }
        }
        self.unique("/remotes", "remote");
        self.secret("/redis/password");
    }

    fn recording(&mut self) {
        self.secret("/recording/postgres/password");
        let recording: Option<Recording> = self.document.read_as("/recording");
        let Some(recording) = recording else { return };
        if recording.redactor().is_err() {
            for (name, pattern) in &recording.redact {
                if let Err(error) = Regex::new(pattern) {
                    let remedy = "correct the regular expression; the syntax is that of the Rust crate `regex`";
                    self.add(&child("/recording/redact", name), error.to_string(), remedy);
                }
            }
        }
        if let Err(error) = recording.prices(self.base) {
            self.add("/recording/prices", error, "write `date` and `models`, as in config/prices.yaml");
        }
    }

    fn clients(&mut self) {
        let count = self.document.count("/clients/keys");
        match self.document.read_or("/clients/auth", ClientAuth::Passthrough) {
            Some(ClientAuth::Keys | ClientAuth::Either) if count == 0 => {
                let remedy = "add `keys:` with a name and `file`, `env` or `value_sha256` each, or write `passthrough`";
                self.add("/clients/auth", "clients shall prove themselves by keys, but there are none", remedy);
            }
            Some(ClientAuth::Passthrough) if count > 0 => {
                let remedy = "set `clients.auth` to `keys` or `either`, or remove the keys";
                self.add_key(
                    "/clients/keys",
                    "these keys are never asked for: `clients.auth` is `passthrough`",
                    remedy,
                );
            }
            Some(_) | None => {}
        }
        for index in 0..count {
            let at = format!("/clients/keys/{index}");
            let fields = self.document.get(&at).and_then(Value::as_object);
            let given: Vec<&str> = ["file", "env", "value_sha256"]
                .into_iter()
                .filter(|name| fields.is_some_and(|fields| fields.contains_key(*name)))
                .collect();
            match given.as_slice() {
                [only] => {
                    let pointer = format!("{at}/{only}");
                    let text: Option<String> = self.document.read_as(&pointer);
                    match (*only, text) {
                        ("file", Some(path)) => self.try_secret(&pointer, &SecretSource::File(path.into())),
                        ("env", Some(name)) => self.try_secret(&pointer, &SecretSource::Env(name)),
                        _ => {}
                    }
                }
                [] => self.add(&at, "this key has no value", "add exactly one of `file`, `env` and `value_sha256`"),
                several => {
                    let message = format!("this key has {} values: {}", several.len(), several.join(", "));
                    self.add(&at, message, "keep exactly one of `file`, `env` and `value_sha256`");
                }
            }
        }
        self.unique("/clients/keys", "client key");
    }

    fn unpoliced(&mut self) {
        for index in 0..self.document.count("/unpoliced/pass") {
            let pointer = format!("/unpoliced/pass/{index}");
            let Some(text) = self.document.read_as::<String>(&pointer) else { continue };
            let (method, glob) = text.split_once(' ').unwrap_or(("", ""));
            let method_fits = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
            if !method_fits || !glob.starts_with('/') || glob.contains(' ') {
                let remedy = "write a method in capitals, a space and a path glob, as `GET /v1/models*`";
                self.add(&pointer, "this is not a method and a path", remedy);
            } else if let Err(error) = Glob::new(glob) {
                self.add(&pointer, format!("the path is not a glob: {}", error.kind()), "write it as `/v1/models*`");
            }
        }
    }

    fn limits(&mut self) {
        let defaults = Limits::default();
        let size = |name: &str, default: Size| self.document.read_or(&format!("/limits/{name}"), default);
        let event = size("event", defaults.event);
        let held = size("held", defaults.held);
        let held_total = size("held_total", defaults.held_total);
        if let (Some(held), Some(event)) = (held, event)
            && held < event
        {
            let message =
                format!("`held` ({held}) is less than `event` ({event}): one large event could not be held back");
            self.add("/limits/held", message, format!("raise `held` to {event} at least, or lower `event`"));
        }
        if let (Some(held), Some(held_total)) = (held, held_total)
            && held > held_total
        {
            let message = format!("`held_total` ({held_total}) is less than `held` ({held}) of one call");
            self.add("/limits/held_total", message, format!("raise it to {held} at least, or lower `held`"));
        }
    }

    fn files(&mut self) {
        self.file("/tls/cert");
        self.file("/tls/key");
    }

    fn log(&mut self) {
        let Some(level) = self.document.read_as::<String>("/log/level") else { return };
        if let Err(error) = read_level(&level) {
            let remedy = "write a level (error, warn, info, debug, trace) or directives as `luthien=debug,warn`";
            self.add("/log/level", format!("this is not a log level: {}", error.why), remedy);
        }
    }

    fn traces(&mut self) {
        let traces: Traces = self.document.read_as("/telemetry/traces").unwrap_or_default();
        if let Err(wrong) = traces.collector(self.environment) {
            self.add(
                "/telemetry/traces/endpoint",
                wrong.to_string(),
                "correct the setting, or the variable of that name",
            );
        }
    }

    fn address(&mut self, pointer: &str, default: Option<&str>) -> Option<SocketAddr> {
        let text: String = match default {
            Some(default) => self.document.read_or(pointer, default.to_owned())?,
            None => self.document.read_as(pointer)?,
        };
        let address = text.parse().ok();
        if address.is_none() {
            let message = "this is not an address with a port";
            self.add(pointer, message, "write an IP address and a port, as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080");
        }
        address
    }

    /// The names in a list of mappings differ.
    fn unique(&mut self, list: &str, noun: &str) {
        let mut first: HashMap<String, usize> = HashMap::new();
        for index in 0..self.document.count(list) {
            let pointer = format!("{list}/{index}/name");
            let Some(name) = self.document.read_as::<String>(&pointer) else { continue };
            if let Some(earlier) = first.get(&name) {
                let message = format!("another {noun} has the name `{name}`: entry {}", earlier + 1);
                self.add(&pointer, message, "give each its own name");
            } else {
                first.insert(name, index);
            }
        }
    }

    fn globs(&mut self, list: &str) {
        for index in 0..self.document.count(list) {
            let pointer = format!("{list}/{index}");
            let glob: Option<String> = self.document.read_as(&pointer);
            if let Some(Err(error)) = glob.map(|glob| Glob::new(&glob)) {
                let remedy = "use `*` for any text and `?` for one character; write `[`, `{` and `\\` after a `\\`";
                self.add(&pointer, format!("this is not a glob: {}", error.kind()), remedy);
            }
        }
    }

    fn secret(&mut self, pointer: &str) {
        if let Some(source) = self.document.read_as::<SecretSource>(pointer) {
            let key = match &source {
                SecretSource::Env(_) => "env",
                SecretSource::File(_) => "file",
            };
            self.try_secret(&format!("{pointer}/{key}"), &source);
        }
    }

    fn try_secret(&mut self, pointer: &str, source: &SecretSource) {
        if let Err(secret::SecretError { message, remedy }) = source.read(self.base, self.environment) {
            self.add(pointer, message, remedy);
        }
    }

    fn file(&mut self, pointer: &str) {
        let Some(path) = self.document.read_as::<PathBuf>(pointer) else { return };
        let path = self.base.join(path);
        if let Err(error) = fs::read(&path) {
            let message = format!("the file {} cannot be read: {error}", path.display());
            self.add(pointer, message, "create the file, or check its path and permissions");
        }
    }

    fn add(&mut self, pointer: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(self.document.problem(pointer, Part::Value, message, remedy));
    }

    fn add_key(&mut self, pointer: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(self.document.problem(pointer, Part::Key, message, remedy));
    }
}

/// Whether two listeners cannot stand beside each other. Port 0 is a free port of the system's choice.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (everywhere || one.ip() == other.ip())
}
