//! Values that are refused, and what is said then.

use super::helm::{refusal, render};

/// A set of values, what is set besides, and a part of what Helm says.
type Case = (&'static str, &'static [&'static str], &'static str);

fn check(cases: &[Case]) {
    for (name, set, expected) in cases {
        let arguments: Vec<&str> = set.iter().flat_map(|set| ["--set-json", *set]).collect();
        let said = refusal(name, &arguments);
        assert!(said.contains(expected), "{set:?}: {said}");
    }
}

#[test]
fn the_schema_names_the_value_and_what_may_stand_there() {
    check(&[
        ("demo", &[r#"mode="standalone""#], r#"mode must be one of the following: "gateway", "extproc", "sidecar""#),
        ("demo", &["replica=2"], "Additional property replica is not allowed"),
        ("demo", &[r#"replicas="two""#], "replicas: Invalid type. Expected: integer, given: string"),
        ("demo", &["replicas=-1"], "replicas: Must be greater than or equal to 0"),
        ("demo", &["drain.waitSeconds=0"], "drain.waitSeconds: Must be greater than or equal to 1"),
        ("demo", &["drain.graceSeconds=5"], "drain.graceSeconds: Must be greater than or equal to 45"),
        (
            "demo",
            &[r#"rules.source="file""#],
            r#"rules.source must be one of the following: "configMap", "watchedConfigMap", "crd""#,
        ),
        ("demo", &[r#"rules.key="policy.json""#], "rules.key: Does not match pattern"),
        ("demo", &[r#"secrets=[{"name":"a"}]"#], "secrets.0: Invalid type. Expected: string, given: object"),
        ("demo", &[r#"image.digest="latest""#], "image.digest: Does not match pattern"),
        (
            "demo",
            &[r#"service.type="External""#],
            r#"service.type must be one of the following: "ClusterIP", "LoadBalancer", "NodePort""#,
        ),
        ("demo", &["service.port=70000"], "service.port: Must be less than or equal to 65535"),
        ("demo", &[r#"resources.requests.cpu="much""#], "resources.requests.cpu: Does not match pattern"),
        ("demo", &[r#"networkPolicy.clients=[{"namespace":"a"}]"#], "Additional property namespace is not allowed"),
        ("demo", &["networkPolicy.clients=[{}]"], "networkPolicy.clients.0: Must have at least 1 properties"),
        ("demo", &[r#"commonLabels={"app.kubernetes.io/name":"x"}"#], "commonLabels: Property name of"),
        ("demo", &[r#"extraEnv=[{"value":"x"}]"#], "extraEnv.0: name is required"),
        ("demo", &[r#"persistence.enabled="auto""#], "persistence.enabled: Invalid type"),
        // The settings, as config/schema/ has them.
        ("demo", &["settings.limit={}"], "settings: Additional property limit is not allowed"),
        ("sqlite", &["settings.limits.calls=-1"], "settings.limits.calls: Must be greater than or equal to"),
        (
            "sqlite",
            &[r#"settings.recording.audit="always""#],
            r#"settings.recording.audit must be one of the following: "best_effort", "required""#,
        ),
        ("sqlite", &[r#"settings.upstreams=[{"name":"a","url":"https://a"}]"#], "settings.upstreams"),
        (
            "audit",
            &[r#"settings.recording.postgres.url="postgres://u:secret@db/luthien""#],
            "settings.recording.postgres.url: Does not match pattern",
        ),
    ]);
}

#[test]
fn what_the_chart_computes_is_not_set() {
    for key in ["listen", "extproc", "probe", "rules", "tls"] {
        let value = if key == "listen" || key == "rules" { r#""x""#.to_owned() } else { "{}".to_owned() };
        let value = match key {
            "probe" => r#"{"listen":"0.0.0.0:8082"}"#.to_owned(),
            "tls" => r#"{"cert":"a","key":"b"}"#.to_owned(),
            _ => value,
        };
        let said = refusal("demo", &["--set-json", &format!("settings.{key}={value}")]);
        assert!(said.contains(&format!("settings.{key} is what the chart computes; remove it: ")), "{said}");
    }
    check(&[
        ("demo", &[r#"settings.admin.listen="0.0.0.0:8081""#], "settings.admin.listen is what the chart computes"),
        ("demo", &[r#"settings.admin.token={"env":"X"}"#], "settings.admin.token is what the chart computes"),
        ("demo", &[r#"settings.telemetry.metrics.envoy_listen="0.0.0.0:9""#], "Envoy's metrics are at port 8083"),
        (
            "extproc-mesh",
            &[r#"settings.timeouts.drain="20m""#],
            "settings.timeouts.drain is what the chart computes; remove it: set `drain.waitSeconds`",
        ),
        ("demo", &[r#"extraEnv=[{"name":"LUTHIEN_LISTEN","value":"x"}]"#], "write it into `settings`"),
        ("demo", &[r#"extraEnv=[{"name":"OPENAI_API_KEY","value":"sk-fake"}]"#], "take it from a Secret"),
    ]);
    // Where Envoy is in the pod, `luthien drain` has waited for calls before Luthien is asked to end.
    render("demo", &["--set", "settings.timeouts.drain=20m"]);
    render(
        "demo",
        &["--set-json", r#"extraEnv=[{"name":"K_TOKEN","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}]"#],
    );
}

#[test]
fn a_release_without_providers_says_how_to_get_one() {
    check(&[
        ("demo", &["demo.enabled=false"], "there is no provider: list them in settings.upstreams"),
        ("sqlite", &["demo.enabled=true"], "remove one of the two"),
        ("sqlite", &[r#"settings.upstreams="quickstart""#], "settings.upstreams must be a list here"),
        (
            "sqlite",
            &[r#"settings.upstreams=[{"name":"d","url":"demo","dialects":["openai_chat"]}]"#],
            "the upstream `d` has `url: demo`",
        ),
    ]);
}

#[test]
fn records_have_their_place() {
    check(&[
        ("sqlite", &["replicas=2"], "replicas: 2 needs settings.recording.postgres"),
        ("demo", &["replicas=2"], "replicas: 2 needs settings.recording.postgres"),
        ("sqlite", &["autoscaling.enabled=true"], "autoscaling.enabled needs settings.recording.postgres"),
        ("sqlite", &["persistence.enabled=false"], "would lose all records with the pod"),
        ("audit", &["persistence.enabled=false"], "settings.recording.audit: required needs a volume"),
        ("sidecar-postgres", &[r#"settings.recording.audit="required""#], "there is none in mode sidecar"),
        ("sidecar", &["persistence.enabled=true"], "persistence is not for mode sidecar"),
    ]);
    // None of them where nothing is recorded, or PostgreSQL has it.
    render(
        "sqlite",
        &["--set-json", r#"settings.recording.level="off""#, "--set", "replicas=2,persistence.enabled=false"],
    );
    render("audit", &["--set", "settings.recording.audit=best_effort,persistence.enabled=false"]);
    assert_eq!(render("demo", &[]).of("StatefulSet").count(), 0);
    assert_eq!(render("demo", &["--set", "persistence.enabled=true"]).of("StatefulSet").count(), 1);
    assert_eq!(render("demo", &["--set", "settings.recording.audit=required"]).of("StatefulSet").count(), 1);
    assert_eq!(render("sqlite", &[]).of("StatefulSet").count(), 1);
}

#[test]
fn what_is_open_has_a_token_or_a_certificate() {
    check(&[
        ("demo", &["admin.service.enabled=true"], "needs a token: create a Secret"),
        ("demo", &[r#"admin.viewerTokenKey="viewer""#], "needs admin.existingSecret"),
        ("sidecar", &[r#"admin.existingSecret="""#], "mode sidecar needs admin.existingSecret"),
        ("sidecar", &["admin.service.enabled=true"], "admin.service is not for mode sidecar"),
        ("extproc-mesh", &["extproc.plaintext=false"], "mode extproc needs exactly one of"),
        ("extproc-mesh", &[r#"extproc.tls.existingSecret="a""#], "mode extproc needs exactly one of"),
        ("extproc-cert-manager", &[r#"extproc.tls.existingSecret="a""#], "mode extproc needs exactly one of"),
        ("extproc-cert-manager", &[r#"extproc.tls.certManager.issuerRef.name="""#], "issuerRef.name is empty"),
        ("extproc-mesh", &[r#"tls.existingSecret="a""#], "tls.existingSecret is for mode gateway"),
        ("sidecar", &[r#"tls.existingSecret="a""#], "tls.existingSecret is for mode gateway"),
        ("sidecar", &[r#"rules.source="watchedConfigMap""#], "rules.source: watchedConfigMap is not for mode sidecar"),
        ("sidecar", &[r#"rules.source="crd""#], "rules.source: crd is not for mode sidecar"),
    ]);
}

#[test]
fn scaling_has_something_to_go_by() {
    check(&[
        (
            "production",
            &["autoscaling.targetCPU=0", "autoscaling.targetCallsInFlight=0"],
            "set autoscaling.targetCPU or autoscaling.targetCallsInFlight",
        ),
        ("production", &["autoscaling.minReplicas=20"], "autoscaling.minReplicas is more than autoscaling.maxReplicas"),
    ]);
}

#[test]
fn what_would_be_there_twice_is_refused() {
    check(&[
        ("demo", &[r#"secrets=["a.b","a-b"]"#], "`a-b` would have the volume of the Secret `a.b`"),
        (
            "demo",
            &[r#"secrets=["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]"#],
            "is too long for a volume; use 48 characters at most",
        ),
        ("demo", &[r#"extraVolumes=[{"name":"settings","emptyDir":{}}]"#], "`settings` is a volume of the chart's"),
        (
            "demo",
            &[r#"commonLabels={"team":"a"}"#, r#"podLabels={"team":"b"}"#],
            "podLabels and commonLabels both have the label `team`",
        ),
        (
            "demo",
            &[r#"commonLabels={"team":"a"}"#, r#"serviceMonitor.labels={"team":"b"}"#],
            "serviceMonitor.labels and commonLabels both have",
        ),
        ("demo", &[r#"podAnnotations={"checksum/config":"x"}"#], "`checksum/config` is what the chart computes"),
        ("extproc-mesh", &["extproc.port=8081"], "extproc.port: 8081 is that of the admin pages"),
        ("extproc-mesh", &["extproc.port=8082"], "or of probes (8082)"),
        // To nobody would be to everybody.
        ("demo", &["networkPolicy.dns=[]"], "networkPolicy.dns: Array must have at least 1 items"),
    ]);
}

#[test]
fn an_older_kubernetes_is_refused() {
    let said = refusal("demo", &["--kube-version", "1.28"]);
    assert!(said.contains("chart requires kubeVersion: >=1.29.0-0"), "{said}");
}
