#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("json"),
    |data: &[u8]| luthien_fuzz::run("json", data)
);
