#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("openai_responses"),
    |data: &[u8]| luthien_fuzz::run("openai_responses", data)
);
