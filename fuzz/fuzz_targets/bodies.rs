#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("bodies"),
    |data: &[u8]| luthien_fuzz::run("bodies", data)
);
