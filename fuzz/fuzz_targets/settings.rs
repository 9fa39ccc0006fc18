#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("settings"),
    |data: &[u8]| luthien_fuzz::run("settings", data)
);
