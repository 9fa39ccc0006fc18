#![no_main]

libfuzzer_sys::fuzz_target!(
    init: luthien_fuzz::begin("openai_chat"),
    |data: &[u8]| luthien_fuzz::run("openai_chat", data)
);
