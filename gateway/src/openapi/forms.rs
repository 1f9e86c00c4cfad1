//! The forms of fields as JSON schemas. The parsers are the rule; a test says
//! that what a schema allows they take.

use proto::MAX_CHANNELS;
use proto::label::{MAX_EMOJI_BYTES, MAX_NAME_CHARACTERS};
use serde_json::{Map, Value, json};

use crate::catalogue::{Field, Form};
use crate::command::MAX_RECIPIENTS;
use crate::fields::MAX_NUMBER;

/// `?device=`.
pub(super) const DEVICE: Field = Field { name: "device", form: Form::Device, required: false };
/// `?as=`.
pub(super) const AS: Field = Field { name: "as", form: Form::User, required: false };

const NAME: &str = "^[A-Za-z0-9._@-]{1,64}$";
const CONVERSATION: &str = "^([A-Za-z0-9._@-]{1,64}~[A-Za-z0-9._@-]{1,64}|g_[A-Za-z0-9]{26})$";
const GROUP: &str = "^g_[A-Za-z0-9]{26}$";
const CHANNEL: &str = "^c_[A-Za-z0-9._-]{1,64}$";
const CHANNEL_PLACE: &str = "^c_[A-Za-z0-9._-]{1,64}(:[0-9]{1,15})?$";
const CLIENT_MESSAGE_ID: &str = "^[!-~]{1,64}$";
/// Of a text without control characters.
const CLEAN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
const CALLBACK: &str = "^[A-Za-z_$][A-Za-z0-9_$.]{0,63}$";

/// The schema of a form.
pub(super) fn schema(form: Form) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match form {
        Form::User | Form::Device => text(NAME),
        Form::Conversation => {
            let mut schema = text(CONVERSATION);
            schema["format"] = json!("conversation");
            schema["description"] =
                json!("A group's id, or the two users of a direct conversation in byte order");
            schema
        }
        Form::Group => text(GROUP),
        Form::Channel => text(CHANNEL),
        Form::ClientMessageId => text(CLIENT_MESSAGE_ID),
        Form::Seq => json!({ "type": "integer", "minimum": 0, "maximum": MAX_NUMBER }),
        Form::Number { least, most, default } => {
            json!({ "type": "integer", "minimum": least, "maximum": most, "default": default })
        }
        Form::Users { least, most } => {
            let mut schema = json!({ "type": "array", "items": text(NAME), "minItems": least });
            if let Some(most) = most {
                schema["maxItems"] = json!(most);
            }
            schema
        }
        Form::Body => json!({ "description": "Any JSON" }),
        Form::Recipients => json!({
            "oneOf": [
                text(NAME),
                {
                    "type": "array", "items": text(NAME), "minItems": 1, "maxItems": MAX_RECIPIENTS,
                    "uniqueItems": true,
                },
            ],
            "description": "A user; or, with the scope `service`, many",
        }),
        Form::GroupName => json!({
            "type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS, "pattern": CLEAN,
        }),
        Form::Emoji => json!({
            "type": "string", "minLength": 1, "maxLength": MAX_EMOJI_BYTES, "pattern": CLEAN, "format": "emoji",
            "description": format!("At most {MAX_EMOJI_BYTES} bytes of UTF-8"),
        }),
        Form::Cursor => json!({
            "type": "string", "format": "cursor", "minLength": 1, "maxLength": 512,
            "description": "A place in the user's inbox, as the server gave it",
        }),
        Form::Start => json!({
            "type": "string", "format": "start", "minLength": 1, "maxLength": 512,
            "description": "A place in the user's inbox, as the server gave it, or `start`: the oldest kept",
        }),
        Form::Channels => json!({
            "type": "array", "items": text(CHANNEL_PLACE), "maxItems": MAX_CHANNELS, "uniqueItems": true,
            "description": "Each with the `seq` after which to begin, or without: at its newest",
        }),
        Form::Page => {
            json!({ "type": "string", "format": "page", "description": "As the answer before gave it" })
        }
        Form::OnlyFalse => json!({
            "type": "boolean", "enum": [false],
            "description": "What needs a session is for two-way transports",
        }),
        Form::Callback => text(CALLBACK),
        Form::Origin => json!({ "type": "string", "format": "origin" }),
    }
}

/// The schema of a body. `null` is absent.
pub(super) fn object(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = schema(field.form);
        if !field.required
            && let Some(kind) = schema.get("type").cloned()
        {
            schema["type"] = json!([kind, "null"]);
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut object = json!({ "type": "object", "properties": properties, "required": required });
    if fields.iter().any(|field| field.name == "to") {
        // A message goes to one of them.
        let only = |name: &str| json!({ "required": [name], "properties": { name: { "type": "string" } } });
        object["oneOf"] = json!([only("to"), only("conversation")]);
    }
    object
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use proto::{ChannelId, ClientMessageId, ConversationId, DeviceId, UserId};

    use super::*;

    fn of(pattern: &str) -> impl Strategy<Value = String> {
        string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
    }

    proptest! {
        #[test]
        fn what_a_pattern_allows_its_parser_takes(
            name in of(NAME), group in of(GROUP), channel in of(CHANNEL), id in of(CLIENT_MESSAGE_ID),
        ) {
            prop_assert!(UserId::parse(&name).is_ok() && DeviceId::parse(&name).is_ok());
            prop_assert!(ConversationId::parse(&group).is_ok());
            prop_assert!(ChannelId::parse(&channel).is_ok());
            prop_assert!(ClientMessageId::parse(&id).is_ok());
        }

        #[test]
        fn a_direct_conversations_pattern_leaves_out_only_the_order(id in of(CONVERSATION)) {
            let reordered = match id.split_once('~') {
                Some((a, b)) if a > b => format!("{b}~{a}"),
                _ => id,
            };
            prop_assert!(ConversationId::parse(&reordered).is_ok(), "{}", reordered);
        }
    }

    #[test]
    fn optional_fields_may_be_null_and_others_not() {
        let fields = [
            Field { name: "user", form: Form::User, required: true },
            Field { name: "device", form: Form::Device, required: false },
        ];
        let object = object(&fields);
        assert_eq!(object["properties"]["user"]["type"], json!("string"));
        assert_eq!(object["properties"]["device"]["type"], json!(["string", "null"]));
        assert_eq!(object["required"], json!(["user"]));
    }
}
