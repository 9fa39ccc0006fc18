#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("remote"),
    |data: &[u8]| luthien_fuzz::run("remote", data)
);
