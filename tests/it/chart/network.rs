//! What the network policies let through.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::helm::{render, renders};

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Where clouds give away credentials of nodes, by NAT64 as well.
const METADATA: [&str; 9] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "100.100.100.200",
    "168.63.129.16",
    "64:ff9b::169.254.169.254",
    "64:ff9b::100.100.100.200",
    "64:ff9b::168.63.129.16",
];

/// Whether an address is in a network.
fn is_in(address: IpAddr, cidr: &str) -> bool {
    let (network, bits) = cidr.split_once('/').expect("a CIDR");
    let bits: u32 = bits.parse().expect("a length");
    match (address, network.parse().expect("a network")) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

/// Whether an egress rule lets calls to an address through.
fn lets_through(rule: &Value, address: &str, port: u64) -> bool {
    let address = address.parse().expect("an address");
    let to_port = list(&rule["ports"]).iter().any(|one| one["port"].as_u64() == Some(port));
    let to_address = list(&rule["to"]).iter().any(|peer| {
        let block = &peer["ipBlock"];
        let inside = block["cidr"].as_str().is_some_and(|cidr| is_in(address, cidr));
        inside && !list(&block["except"]).iter().any(|cidr| is_in(address, cidr.as_str().expect("a CIDR")))
    });
    to_port && to_address
}

fn egress(name: &str, address: &str, port: u64) -> bool {
    let render = render(name, &[]);
    list(&render.object("NetworkPolicy", "luthien")["spec"]["egress"])
        .iter()
        .any(|rule| lets_through(rule, address, port))
}

/// A node's credentials are there, and a call of a policy could be made to ask for them.
#[test]
fn nothing_leads_to_metadata_services() {
    let mut seen = 0;
    for render in renders() {
        for policy in render.of("NetworkPolicy") {
            for rule in list(&policy["spec"]["egress"]) {
                assert!(rule["to"].is_array() && rule["ports"].is_array(), "{}: {rule} leads anywhere", render.name);
                for port in [80, 443, 5432, 5433, 6379, 6380, 4317, 6443, 8000, 8090] {
                    for address in METADATA {
                        assert!(!lets_through(rule, address, port), "{}: {address}:{port} by {rule}", render.name);
                    }
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn settings_say_what_is_let_through() {
    // Providers, and nothing private, unless it is named.
    for name in ["demo", "production", "extproc-secret"] {
        assert!(egress(name, "203.0.113.7", 443) && egress(name, "2001:db8::7", 443), "{name}");
        assert!(!egress(name, "10.1.2.3", 443) && !egress(name, "192.168.1.2", 443) && !egress(name, "fd12::1", 443));
        for private in ["10.1.2.3", "100.64.1.2", "127.0.0.1", "172.17.0.1", "192.168.1.2"] {
            assert!(!egress(name, &format!("64:ff9b::{private}"), 443), "{name}: {private} by NAT64");
        }
        assert!(egress(name, "64:ff9b::203.0.113.7", 443), "{name}");
        assert!(!egress(name, "203.0.113.7", 80), "{name}");
    }
    assert!(egress("demo", "10.1.2.3", 8090));
    assert!(!egress("demo", "10.1.2.3", 5432));
    assert!(egress("audit", "10.1.2.3", 5432));
    // Peers take the place of anywhere; ports come from the settings.
    assert!(egress("production", "10.20.0.5", 5433) && !egress("production", "10.20.0.7", 5433));
    assert!(egress("production", "10.20.0.6", 6380) && !egress("production", "10.20.0.5", 6380));
    assert!(egress("production", "10.30.0.9", 443));
    assert!(egress("production", "10.1.2.3", 8000));
    // The API server only where rules come from it.
    assert!(egress("crd", "10.96.0.1", 443) && egress("watched-config-map", "10.96.0.1", 6443));
    assert!(!egress("demo", "10.96.0.1", 6443));
}

/// A sidecar does not start without its control plane, and pods of the ambient mode reach each other through tunnels.
#[test]
fn a_mesh_reaches_its_pods_and_its_control_plane() {
    let istiod = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "istio-system" } } });
    let ports =
        |rule: &Value| -> Vec<u64> { list(&rule["ports"]).iter().filter_map(|one| one["port"].as_u64()).collect() };
    let leads = |policy: &Value, peer: &Value, port: u64| {
        let mut rules = list(&policy["spec"]["egress"]).iter();
        rules.any(|rule| list(&rule["to"]).contains(peer) && ports(rule).contains(&port))
    };
    let lets_in = |policy: &Value, peer: Option<&Value>, port: u64| {
        let mut rules = list(&policy["spec"]["ingress"]).iter();
        rules.any(|rule| {
            ports(rule).contains(&port)
                && peer.map_or(rule["from"].is_null(), |peer| list(&rule["from"]).contains(peer))
        })
    };
    let pods = json!({ "namespaceSelector": {} });
    let kubelet = json!({ "ipBlock": { "cidr": "169.254.7.127/32" } });
    for (set, more) in [("istio-mesh", None), ("extproc-mesh", None), ("demo", Some("networkPolicy.mesh.enabled=true"))]
    {
        let more: Vec<&str> = more.map(|more| ["--set", more]).into_iter().flatten().collect();
        let render = render(set, &more);
        // The demo provider is in the mesh as well.
        for name in ["luthien", "luthien-demo"] {
            let policy = render.object("NetworkPolicy", name);
            assert!(leads(policy, &istiod, 15012), "{set}: {policy}");
            assert!(leads(policy, &pods, 15008), "{set}: {policy}");
            let gateway =
                json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "istio-ingress" } } });
            let comes = match (name, set) {
                ("luthien-demo", _) => Some(&pods),
                (_, "istio-mesh") => Some(&gateway),
                _ => None,
            };
            assert!(lets_in(policy, comes, 15008), "{set}: {policy}");
            // The proxy asks for names.
            assert!(list(&policy["spec"]["egress"]).iter().any(|rule| ports(rule).contains(&53)), "{set}: {policy}");
        }
        assert!(lets_in(render.object("NetworkPolicy", "luthien"), Some(&kubelet), 8082), "{set}");
        assert!(lets_in(render.object("NetworkPolicy", "luthien-demo"), Some(&kubelet), 8090), "{set}");
    }
    // Nothing of it without a mesh, or where that is said.
    for (set, more) in [("demo", None), ("istio", None), ("istio-mesh", Some("networkPolicy.mesh.enabled=false"))] {
        let more: Vec<&str> = more.map(|more| ["--set", more]).into_iter().flatten().collect();
        let policy = render(set, &more).object("NetworkPolicy", "luthien").to_string();
        assert!(["15012", "15008", "169.254.7.127"].iter().all(|part| !policy.contains(part)), "{set}: {policy}");
    }
    // Who may come is still said, and another mesh is as well.
    let clients = r#"networkPolicy.clients=[{"podSelector":{"matchLabels":{"app":"gateway"}}}]"#;
    let mesh = r#"networkPolicy.mesh={"controlPlane":[{"podSelector":{}}],"ports":[8086,8090],"tunnelPorts":[4143],"kubelet":[]}"#;
    let narrow = render("istio-mesh", &["--set-json", clients, "--set-json", mesh]);
    let policy = narrow.object("NetworkPolicy", "luthien");
    let (gateway, anybody) =
        (json!({ "podSelector": { "matchLabels": { "app": "gateway" } } }), json!({ "podSelector": {} }));
    assert!(lets_in(policy, Some(&gateway), 4143) && !lets_in(policy, None, 4143), "{policy}");
    assert!(leads(policy, &anybody, 8086) && leads(policy, &anybody, 8090) && leads(policy, &pods, 4143), "{policy}");
    let said = policy.to_string();
    assert!(["15012", "15008", "169.254.7.127"].iter().all(|part| !said.contains(part)), "{said}");
}

#[test]
fn who_may_come_is_said() {
    let open = render("demo", &[]);
    let rules = list(&open.object("NetworkPolicy", "luthien")["spec"]["ingress"]);
    assert!(rules[0]["from"].is_null() && rules[0]["ports"][0]["port"] == 8080);
    assert_eq!(rules.len(), 2, "clients, Prometheus, and nobody to the admin pages");
    let narrow = render("production", &[]);
    let rules = list(&narrow.object("NetworkPolicy", "luthien")["spec"]["ingress"]);
    assert_eq!(rules[0]["from"][0]["namespaceSelector"]["matchLabels"]["team"], "agents");
    // The pod of `helm test` comes as a client and as Prometheus does.
    for rule in &rules[..2] {
        let test = &rule["from"][1]["podSelector"]["matchLabels"];
        assert_eq!(test["app.kubernetes.io/component"], "test", "{rule}");
        let pod = &narrow.object("Pod", "luthien-test")["metadata"]["labels"];
        assert!(test.as_object().expect("labels").iter().all(|(key, value)| pod[key] == *value), "{pod}");
    }
    assert_eq!(rules[2]["ports"][0]["port"], 8081);
    assert_eq!(
        render("extproc-secret", &[]).object("NetworkPolicy", "luthien")["spec"]["ingress"][0]["ports"][0]["port"],
        9000
    );
}
