//! What the chart gives to the program and to Envoy: the settings pass `luthien check`, and Envoy takes the configuration that the
//! init container writes for it. Commands, arguments and variables are those of the containers.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use luthien::envoy::find_envoy;
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use super::helm::{Render, printed, renders};
use crate::compose::document::{documents, root};

/// The files of one pod, below a folder of the test's.
struct Pod {
    folder: TempDir,
    address: &'static str,
    containers: BTreeMap<String, Value>,
    /// The name of the pod of `helm test`.
    test: String,
}

impl Pod {
    fn of(render: &Render) -> Self {
        let serves = |pod: &Value| pod["kind"] != "Pod" && pod.to_string().contains(r#""args":["serve"]"#);
        let (_, pod) = render.pods().into_iter().find(|(_, pod)| serves(pod)).expect("a pod of Luthien's");
        let spec = &pod["spec"];
        let both = ["initContainers", "containers"].into_iter().filter_map(|key| spec[key].as_array()).flatten();
        let named = both.map(|one| (one["name"].as_str().unwrap_or_default().replace("luthien-", ""), one.clone()));
        let folder = tempfile::tempdir().expect("a folder");
        let address = if render.name == "ipv6" { "fd00::7" } else { "10.0.0.7" };
        let test = if render.name == "own" { "policy-gateway-test" } else { "luthien-test" }.to_owned();
        let pod = Self { containers: named.collect(), folder, address, test };
        pod.write_files(render);
        pod
    }

    fn path(&self, inside: &str) -> String {
        format!("{}{inside}", self.folder.path().display())
    }

    /// A text of a container's, as it is in the test's folder.
    fn place(&self, text: &str) -> String {
        let text = text.replace("$(POD_IP)", self.address);
        ["/etc/luthien", "/run/luthien", "/var/lib/luthien"]
            .iter()
            .fold(text, |text, at| text.replace(at, &self.path(at)))
    }

    fn write_files(&self, render: &Render) {
        for inside in ["/etc/luthien/settings", "/etc/luthien/rules", "/run/luthien", "/var/lib/luthien"] {
            fs::create_dir_all(self.path(inside)).expect("a folder");
        }
        let config_map = |name: &str, key: &str| {
            render
                .of("ConfigMap")
                .find(|map| map["metadata"]["name"].as_str().is_some_and(|full| full.ends_with(name)))?["data"][key]
                .as_str()
        };
        let settings = config_map("-settings", "luthien.yaml").expect("settings");
        fs::write(self.path("/etc/luthien/settings/luthien.yaml"), self.place(settings)).expect("settings");
        // That of the set `own` is not the chart's.
        let rules = config_map("-rules", "policy.yaml").unwrap_or("policies: []\n");
        for key in ["policy.yaml", "rules.yaml"] {
            fs::write(self.path("/etc/luthien/rules") + "/" + key, rules).expect("rules");
        }
        let certificate = rcgen::generate_simple_self_signed(["gateway".to_owned()]).expect("a certificate");
        let named = Regex::new(r"/etc/luthien/[-_./a-z]+").expect("a pattern");
        for file in named.find_iter(settings).map(|file| file.as_str()) {
            let path = self.path(file);
            let path = Path::new(&path);
            if path.exists() {
                continue;
            }
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            let text = match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => certificate.cert.pem(),
                Some("key") => certificate.signing_key.serialize_pem(),
                _ => format!("fake{}", file.replace('/', "-")),
            };
            fs::write(path, text).expect("a file");
        }
    }

    /// A program with the variables of a container.
    fn command(&self, program: &Path, container: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.folder.path());
        for variable in self.containers[container]["env"].as_array().into_iter().flatten() {
            if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
                command.env(name, self.place(value));
            }
        }
        command
    }

    fn arguments(&self, container: &str) -> Vec<String> {
        let arguments = self.containers[container]["args"].as_array().expect("arguments");
        arguments.iter().map(|argument| self.place(argument.as_str().expect("text"))).collect()
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_luthien"))
}

#[test]
fn every_rendered_document_passes_luthien_check() {
    for render in renders() {
        let pod = Pod::of(&render);
        let said = printed(pod.command(program(), "luthien").arg("check"));
        // The sets say aloud whom they let spend a key.
        assert!(!said.contains("warning") || render.name == "production", "{}: {said}", render.name);
    }
}

#[test]
fn envoy_takes_what_the_init_container_writes() {
    let named = std::env::var_os("LUTHIEN_ENVOY").map(std::path::PathBuf::from);
    let envoy = find_envoy(named.as_deref(), &[root().join(".tools")]).unwrap_or_else(|error| panic!("{error}"));
    let mut seen = 0;
    for render in renders() {
        let pod = Pod::of(&render);
        if !pod.containers.contains_key("envoy-config") {
            let without = ["crd-namespaces", "envoy-gateway", "istio", "istio-mesh"];
            assert!(render.name.contains("extproc") || without.contains(&&*render.name), "{}", render.name);
            continue;
        }
        let mut arguments = pod.arguments("envoy-config");
        let installed = pod.path("/run/luthien/luthien");
        let at = arguments.iter().position(|argument| *argument == installed).expect("the program is installed");
        if seen > 0 {
            // Once is enough: it is large.
            arguments.drain(at - 1..=at);
        }
        printed(pod.command(program(), "envoy-config").args(&arguments));
        if seen == 0 {
            let drain = &pod.containers["envoy"]["lifecycle"]["preStop"]["exec"]["command"];
            assert_eq!(pod.place(drain[0].as_str().expect("a program")), installed);
            printed(Command::new(&installed).args(["drain", "--help"]));
        }
        printed(pod.command(&envoy, "envoy").args(pod.arguments("envoy")).args(["--mode", "validate"]));
        if render.name.starts_with("sidecar") {
            assert!(render.of("Pod").next().is_none(), "{}", render.name);
        } else {
            let doctor = &render.object("Pod", &pod.test)["spec"]["containers"][0]["args"];
            let arguments = doctor.as_array().expect("arguments").iter().filter_map(Value::as_str);
            printed(pod.command(program(), "envoy-config").args(arguments.map(|argument| pod.place(argument))));
        }
        let written = fs::read_to_string(pod.path("/run/luthien/envoy.yaml")).expect("a configuration");
        let listeners = documents("envoy.yaml", &written)[0]["static_resources"]["listeners"].clone();
        let addresses: Vec<String> = listeners
            .as_array()
            .expect("listeners")
            .iter()
            .map(|one| &one["address"]["socket_address"])
            .map(|at| format!("{} {}", at["address"].as_str().unwrap_or_default(), at["port_value"]))
            .collect();
        let clients = match render.name.as_str() {
            name if name.starts_with("sidecar") => "127.0.0.1",
            "ipv6" | "dual-stack" => "::",
            _ => "0.0.0.0",
        };
        assert_eq!(addresses, [format!("{clients} 8080"), format!("{} 8083", pod.address)], "{}", render.name);
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}
