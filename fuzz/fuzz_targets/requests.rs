#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("requests"),
    |data: &[u8]| luthien_fuzz::run("requests", data)
);
