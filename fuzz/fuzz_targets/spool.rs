#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("spool"),
    |data: &[u8]| luthien_fuzz::run("spool", data)
);
