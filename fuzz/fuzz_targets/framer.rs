#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("framer"),
    |data: &[u8]| luthien_fuzz::run("framer", data)
);
