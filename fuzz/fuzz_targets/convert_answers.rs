#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("convert_answers"),
    |data: &[u8]| luthien_fuzz::run("convert_answers", data)
);
