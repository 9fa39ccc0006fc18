#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("cel"),
    |data: &[u8]| luthien_fuzz::run("cel", data)
);
