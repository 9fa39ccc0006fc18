#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("kubernetes"),
    |data: &[u8]| luthien_fuzz::run("kubernetes", data)
);
