//! The code of the policy contract is what its description says.

use std::{fs, path::Path};

const PROTO: &str = "luthien/policy/v1/policy.proto";
const CODE: &str = "src/policies/remote/v1";

/// Writes the code anew with `UPDATE=1`; otherwise fails where it differs.
#[test]
fn the_code_of_the_contract_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let described = protox::compile([PROTO], [root.join("proto")]).expect("the contract is well-formed");
    let out = tempfile::tempdir().unwrap();
    let mut config = prost_build::Config::new();
    config.out_dir(out.path());
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_server(false)
        .compile_fds_with_config(described.clone(), config)
        .expect("the contract becomes code");
    let bytes = prost::Message::encode_to_vec(&described);
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)
        .unwrap()
        .ignore_unknown_fields()
        .out_dir(out.path())
        .build(&[".luthien.policy.v1"])
        .expect("the contract becomes JSON");
    let is_update = std::env::var_os("UPDATE").is_some();
    for (from, to) in [("luthien.policy.v1.rs", "messages.rs"), ("luthien.policy.v1.serde.rs", "json.rs")] {
        let made = fs::read_to_string(out.path().join(from)).unwrap();
        let file = root.join(CODE).join(to);
        if is_update {
            fs::create_dir_all(root.join(CODE)).unwrap();
            fs::write(&file, &made).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == made, "{} is not what {PROTO} says; UPDATE=1 writes it", file.display());
    }
}
