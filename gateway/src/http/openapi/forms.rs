//! The forms of fields as JSON schemas. The parsers decide; a test checks that
//! they accept what a schema allows.

use proto::json::MAX_NUMBER;
use proto::label::{MAX_EMOJI_BYTES, MAX_NAME_CHARACTERS};
use proto::role::ROLES_OF_NEW;
use proto::{MAX_CHANNELS, Role};
use serde_json::{Map, Value, json};

use super::schema::{BODY, GROUP, reference};
use crate::http::catalogue::{Field, Form, RESOURCES};
use crate::protocol::command::MAX_RECIPIENTS;
use crate::transport::poll;

/// `?device=`.
pub(super) const DEVICE: Field = Field { name: "device", form: Form::Device, required: false };
/// `?as=`.
pub(super) const AS: Field = Field { name: "as", form: Form::User, required: false };

const NAME: &str = "^[A-Za-z0-9._@-]{1,64}$";
const CONVERSATION: &str = "^([A-Za-z0-9._@-]{1,64}~[A-Za-z0-9._@-]{1,64}|g_[A-Za-z0-9]{26})$";
const GROUP_ID: &str = "^g_[A-Za-z0-9]{26}$";
const CHANNEL: &str = "^c_[A-Za-z0-9._-]{1,64}$";
const CHANNEL_PLACE: &str = "^c_[A-Za-z0-9._-]{1,64}(:[0-9]{1,15})?$";
const CLIENT_MESSAGE_ID: &str = "^[!-~]{1,64}$";
/// The pattern of a text without control characters.
const CLEAN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
const CALLBACK: &str = "^[A-Za-z_$][A-Za-z0-9_$.]{0,63}$";
const PARENT_CALLBACK: &str = r"^(postMessage|parent(\.[A-Za-z_$][A-Za-z0-9_$]*)+)$";

/// An example of a form, which the server accepts if the thing that it names
/// exists.
pub(super) fn example(form: Form) -> Value {
    match form {
        Form::User => json!("bob"),
        Form::Device => json!("phone"),
        Form::Conversation => json!("alice~bob"),
        Form::Group => json!(GROUP),
        Form::Channel => json!("c_news"),
        Form::ClientMessageId => json!("m-1"),
        Form::TokenId => json!("5f0c2a9e-1d7b"),
        Form::Time => json!(1_790_000_000_000_u64),
        Form::Seq => json!(1),
        Form::Number { least, default, .. } => json!(default.max(least)),
        Form::Wait => json!(poll::DEFAULT_WAIT),
        Form::Users { .. } | Form::Recipients => json!(["bob", "carol"]),
        Form::Body => json!(BODY),
        Form::GroupName => json!("Team"),
        Form::Role | Form::RoleOfNew => json!(Role::Reader.as_str()),
        Form::Emoji => json!("👍"),
        Form::Cursor => json!("7.k2"),
        Form::Start => json!("start"),
        Form::Channels => json!(["c_news:41"]),
        Form::Page => json!("50"),
        Form::OnlyFalse => json!(false),
        Form::Callback => json!("page.onEvents"),
        Form::ParentCallback => json!("parent.onFrame"),
        Form::Origin => json!("https://chat.example.com"),
    }
}

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
        Form::Group => text(GROUP_ID),
        Form::Channel => text(CHANNEL),
        Form::ClientMessageId => text(CLIENT_MESSAGE_ID),
        Form::TokenId => json!({ "type": "string", "minLength": 1, "maxLength": 256, "pattern": CLEAN,
                                 "format": "jti", "description": "At most 256 bytes of UTF-8" }),
        Form::Time => json!({
            "type": "integer", "minimum": 0, "maximum": MAX_NUMBER, "description": "Unix milliseconds",
        }),
        Form::Seq => json!({ "type": "integer", "minimum": 0, "maximum": MAX_NUMBER }),
        Form::Number { least, most, default } => {
            json!({ "type": "integer", "minimum": least, "maximum": most, "default": default })
        }
        Form::Wait => json!({
            "type": "integer", "minimum": 0, "maximum": MAX_NUMBER, "default": poll::DEFAULT_WAIT,
            "description": format!("Seconds; more than {} are taken as {}", poll::MAX_WAIT, poll::MAX_WAIT),
        }),
        Form::Users { least, most } => {
            let mut schema = json!({ "type": "array", "items": text(NAME), "minItems": least });
            if let Some(most) = most {
                schema["maxItems"] = json!(most);
            }
            schema
        }
        Form::Body => json!({ "description": "Any JSON" }),
        Form::Recipients => json!({
            "type": "array", "items": text(NAME), "minItems": 1, "maxItems": MAX_RECIPIENTS,
            "uniqueItems": true,
            "description": "Each gets the message alone. Needs the scope `service`",
        }),
        Form::GroupName => json!({
            "type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS, "pattern": CLEAN,
        }),
        Form::Role => json!({ "type": "string", "enum": Role::NAMES }),
        Form::RoleOfNew => json!({
            "type": "string", "enum": ROLES_OF_NEW.map(Role::as_str), "default": Role::Member.as_str(),
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
        Form::ParentCallback => text(PARENT_CALLBACK),
        Form::Origin => json!({ "type": "string", "format": "origin" }),
    }
}

/// The schema of a body, and an example. A message goes to one of three kinds
/// of recipients: there is a schema for each, so that a generator makes a type
/// of each.
pub(super) fn body(fields: &[Field]) -> (Value, Value) {
    let Some(variants) = variants(fields) else { return (object(fields), object_example(fields)) };
    let any: Vec<Value> = variants.iter().map(|variant| reference(variant.name)).collect();
    (json!({ "oneOf": any }), object_example(&variants[0].of(fields)))
}

/// `components/schemas`: the schemas of bodies that have several forms.
pub(super) fn schemas() -> Map<String, Value> {
    let bodies = RESOURCES.iter().map(|resource| resource.in_body);
    let varied = bodies.filter_map(|fields| Some((fields, variants(fields)?)));
    let named = varied.flat_map(|(fields, variants)| {
        variants.iter().map(|variant| {
            let fields = variant.of(fields);
            let mut schema = object(&fields);
            schema["examples"] = json!([object_example(&fields)]);
            (variant.name.to_owned(), schema)
        })
    });
    named.collect()
}

/// One of the forms of a body.
struct Variant {
    /// Its schema.
    name: &'static str,
    /// The field that only this form has, and needs.
    own: Field,
    /// Fields that are of the other forms.
    not: &'static [&'static str],
}

/// The forms of a message to send: each has another recipient.
const MESSAGES: &[Variant] = &[
    Variant {
        name: "MessageToUser",
        own: Field { name: "to", form: Form::User, required: true },
        not: &["to", "conversation"],
    },
    Variant {
        name: "MessageToUsers",
        own: Field { name: "to", form: Form::Recipients, required: true },
        not: &["to", "conversation"],
    },
    Variant {
        name: "MessageToConversation",
        own: Field { name: "conversation", form: Form::Conversation, required: true },
        not: &["to", "conversation"],
    },
];
/// The forms of a revocation: a user's tokens, or one.
const REVOCATIONS: &[Variant] = &[
    Variant {
        name: "RevokeUser",
        own: Field { name: "user", form: Form::User, required: true },
        not: &["user", "jti", "until"],
    },
    Variant {
        name: "RevokeToken",
        own: Field { name: "jti", form: Form::TokenId, required: true },
        not: &["user", "jti", "before"],
    },
];

/// The forms of a body with these fields, if it has several.
fn variants(fields: &[Field]) -> Option<&'static [Variant]> {
    let has = |form| fields.iter().any(|field| field.form == form);
    match () {
        () if has(Form::Recipients) => Some(MESSAGES),
        () if has(Form::TokenId) => Some(REVOCATIONS),
        () => None,
    }
}

impl Variant {
    /// The fields of this form.
    fn of(&self, fields: &[Field]) -> Vec<Field> {
        let others = fields.iter().filter(|field| !self.not.contains(&field.name)).copied();
        std::iter::once(self.own).chain(others).collect()
    }
}

/// The schema of an object; `null` counts as absent.
fn object(fields: &[Field]) -> Value {
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
    json!({ "type": "object", "properties": properties, "required": required })
}

fn object_example(fields: &[Field]) -> Value {
    fields.iter().map(|field| (field.name.to_owned(), example(field.form))).collect::<Map<_, _>>().into()
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
            name in of(NAME), group in of(GROUP_ID), channel in of(CHANNEL), id in of(CLIENT_MESSAGE_ID),
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

    /// Generators ignore properties beside a `oneOf`.
    #[test]
    fn a_message_goes_to_a_user_to_many_or_to_a_conversation_each_with_a_type_of_its_own() {
        let send = RESOURCES.iter().find(|resource| resource.name == "send").unwrap();
        let (schema, example) = body(send.in_body);
        assert_eq!(schema.as_object().unwrap().keys().collect::<Vec<_>>(), ["oneOf"]);
        assert_eq!(example, json!({"to": "bob", "body": BODY, "client_msg_id": "m-1"}));
        let schemas = schemas();
        assert_eq!(schemas["MessageToUser"]["required"], json!(["to", "body"]));
        assert_eq!(schemas["MessageToUsers"]["properties"]["to"]["type"], json!("array"));
        assert_eq!(schemas["MessageToConversation"]["required"], json!(["conversation", "body"]));
        assert!(schemas["MessageToUser"]["properties"].get("conversation").is_none());
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
