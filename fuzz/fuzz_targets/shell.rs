#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("shell"),
    |data: &[u8]| luthien_fuzz::run("shell", data)
);
