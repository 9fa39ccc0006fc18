#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("rules"),
    |data: &[u8]| luthien_fuzz::run("rules", data)
);
