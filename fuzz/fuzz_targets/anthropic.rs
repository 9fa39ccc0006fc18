#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("anthropic"),
    |data: &[u8]| luthien_fuzz::run("anthropic", data)
);
