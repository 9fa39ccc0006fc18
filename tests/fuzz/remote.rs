//! What a policy in another process may say: messages of gRPC, and the JSON of webhooks.

use std::fmt::Debug;

use luthien::policies::remote::v1::{Decision, Hook};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::input::Input;

/// A byte that chooses the message and its form, and the message.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    if form.is_multiple_of(2) {
        protobuf::<Decision>(input.rest());
        protobuf::<Hook>(input.rest());
    } else {
        json::<Decision>(input.rest());
        json::<Hook>(input.rest());
    }
}

/// What is read says itself again, in both forms.
fn protobuf<M: Message + Default + PartialEq + Debug + Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = M::decode(bytes) else { return };
    let again = M::decode(read.encode_to_vec().as_slice()).expect("what was written can be read");
    assert!(again == read, "{read:?} became {again:?}");
    let text = serde_json::to_vec(&read).expect("a message is JSON");
    let again: M = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {read:?}"));
    assert!(again == read, "{read:?} became {again:?}");
}

fn json<M: Message + Default + PartialEq + Debug + Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<M>(bytes) else { return };
    protobuf::<M>(&read.encode_to_vec());
}
