//! Handles the commands of a client on a two-way transport: parses them, checks
//! permission and rate, and starts them in order; or refuses them. WebSocket,
//! Socket.IO and SockJS share it. Answers join the session's frames.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use daemon::trace::{self, KeyValue, Span};
use proto::wire::request;
use proto::{CommandKind, End, ErrorCode, UserId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::caller::identity::LivePermissions;
use crate::caller::rates::{Admission, Payer, Refusals};
use crate::caller::violations::Violations;
use crate::gateway::Gateway;
use crate::link::Outcome;
use crate::link::execute::Typing;
use crate::link::request::{Prepared, prepare, unhide};
use crate::metrics;
use crate::protocol::answer::Answer;
use crate::protocol::binary;
use crate::protocol::command::Command;
use crate::protocol::event::Event;
use crate::protocol::failure::Failure;
use crate::protocol::fields::Fields;
use crate::protocol::frame::{Frame, Reference};
use crate::protocol::permissions::Permissions;
use crate::protocol::scopes::Scopes;
use crate::session::gathered_acks::{self, HeldAck};
use crate::session::{AckClaim, CatchUp, Session, presence};

/// The commands of one connection. Each method that takes a command returns an
/// end if the session must end because of too many wrong ones.
pub(crate) struct Uplink {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    /// The transport's name, for traces.
    protocol: &'static str,
    /// What the newest token allows; shared with a renewal that is under way.
    permissions: Arc<LivePermissions>,
    violations: Violations,
    /// Recent refusals, for the commands that were sent behind them.
    refusals: Refusals,
    /// A command that waits for the decision about its rate; no other one is
    /// taken before.
    held: Option<Box<UndecidedCommand>>,
}

/// A command with its `ref` and its position in the order.
struct Ordered {
    command: Command,
    /// The user for whom a backend acts, if not the session's.
    acting: Option<UserId>,
    reference: Reference,
}

/// A command that waits for the decision.
struct UndecidedCommand {
    ordered: Ordered,
    answer: oneshot::Receiver<()>,
}

impl Uplink {
    /// The uplink of a connection whose token allows this.
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        session: Arc<Session>,
        permissions: Permissions,
        protocol: &'static str,
    ) -> Self {
        session.remember();
        Self {
            gateway,
            session,
            protocol,
            permissions: Arc::new(LivePermissions::new(permissions)),
            violations: Violations::default(),
            refusals: Refusals::default(),
            held: None,
        }
    }

    /// Whether a command waits for a decision. Until [`Uplink::poll_held`] is
    /// ready, no other may be given.
    pub(crate) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Handles a frame in JSON.
    pub(crate) fn json(&mut self, text: &str) -> Option<End> {
        let parse = |fields: &Fields<'_>| Command::parse(&fields.required_text("type")?, fields);
        self.take(Fields::from_text(text), None, parse)
    }

    /// Handles a frame in protobuf.
    pub(crate) fn protobuf(&mut self, bytes: &[u8]) -> Option<End> {
        match binary::decode(bytes) {
            Ok((kind, fields)) => self.take(Ok(fields), None, |fields| Command::of(kind, fields)),
            Err(failure) => self.no_frame(failure),
        }
    }

    /// Handles a command of this name. With `acknowledge` that is the `ref` of its
    /// answer; fields that could not be read are refused with why.
    pub(crate) fn event(
        &mut self,
        name: &str,
        fields: Result<Fields<'_>, Failure>,
        acknowledge: Reference,
    ) -> Option<End> {
        self.take(fields, acknowledge, |fields| Command::parse(name, fields))
    }

    fn take(
        &mut self,
        fields: Result<Fields<'_>, Failure>,
        acknowledge: Reference,
        parse: impl FnOnce(&Fields<'_>) -> Result<Command, Failure>,
    ) -> Option<End> {
        self.session.command_begins();
        let parsed = fields.and_then(|fields| Ok((fields.reference()?, fields)));
        let (reference, fields) = match parsed {
            Ok((reference, fields)) => (acknowledge.or(reference), fields),
            Err(failure) => return self.refuse(acknowledge, failure),
        };
        let result = parse(&fields).and_then(|command| self.command(command, &fields, reference.clone()));
        result.err().and_then(|failure| self.refuse(reference, failure))
    }

    /// Handles something that is no frame.
    pub(crate) fn no_frame(&mut self, failure: Failure) -> Option<End> {
        self.session.command_begins();
        self.refuse(None, failure)
    }

    fn command(
        &mut self,
        command: Command,
        fields: &Fields<'_>,
        reference: Reference,
    ) -> Result<(), Failure> {
        let acting = fields.id("as", UserId::parse)?;
        if acting.is_some() && !self.permissions.scopes().service {
            return Err(Failure::forbidden("`as` needs a token with the scope `service`"));
        }
        self.permissions.permit(acting.as_ref().unwrap_or(&self.session.user), &command)?;
        self.admit(Ordered { command, acting, reference })
    }

    /// Starts a command if its user may, or holds it until that is known. Fails
    /// with the refusal.
    fn admit(&mut self, ordered: Ordered) -> Result<(), Failure> {
        let (class, kind, now) = (ordered.command.class(), ordered.command.kind(), Instant::now());
        let payer = Payer { user: &self.session.user, service: self.permissions.scopes().service };
        let rates = &self.gateway.callers.rates;
        let still = self.refusals.wait(class, now);
        if let Some(failure) = still.and_then(|wait| rates.refuse_still(payer, class, wait)) {
            metrics::command(kind, Some(failure.code));
            return Err(failure);
        }
        match rates.admit(payer, class, ordered.command.units()) {
            Admission::Passes => self.begin(ordered),
            Admission::Refused(failure, why) => {
                let wait = Duration::from_millis(failure.retry_after_ms.unwrap_or_default());
                self.refusals.note(class, wait, why, now);
                metrics::command(kind, Some(failure.code));
                Err(failure)
            }
            Admission::Waits(answer) => {
                self.held = Some(Box::new(UndecidedCommand { ordered, answer }));
                Ok(())
            }
        }
    }

    /// Decides about the held command, when that is possible.
    pub(crate) fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let Some(held) = &mut self.held else { return Poll::Ready(None) };
        // Without an answer it is decided nevertheless.
        let _ = ready!(Pin::new(&mut held.answer).poll(cx));
        let Some(held) = self.held.take() else { return Poll::Ready(None) };
        let reference = held.ordered.reference.clone();
        let refused = self.admit(held.ordered).err();
        Poll::Ready(refused.and_then(|failure| self.refuse(reference, failure)))
    }

    fn begin(&self, Ordered { command, acting, reference }: Ordered) -> Result<(), Failure> {
        match command {
            Command::Ping => {
                self.session.answer(Frame::Pong(reference));
                Ok(())
            }
            Command::Auth(token) => {
                self.renew(token, reference);
                Ok(())
            }
            command => {
                let user = acting.as_ref().unwrap_or(&self.session.user);
                self.carry_out(user, self.permissions.scopes(), command, reference)
            }
        }
    }

    /// Starts a command; its answer joins the session's frames. `user` differs
    /// from the session's when a backend acts for somebody. Fails if it is
    /// known at once that the command cannot be done; the caller answers that.
    fn carry_out(
        &self,
        user: &UserId,
        scopes: Scopes,
        command: Command,
        reference: Reference,
    ) -> Result<(), Failure> {
        let session = &self.session;
        let command = match command {
            Command::Subscribe { channel, after } => {
                return self.gateway.channels.subscribe(session, channel, after, reference);
            }
            Command::Unsubscribe(channel) => {
                self.gateway.channels.unsubscribe(session, &channel, reference);
                return Ok(());
            }
            Command::SendToMany { to, body, client_msg_id } => {
                let (gateway, session, user) = (self.gateway.clone(), session.clone(), user.clone());
                self.gateway.context.tracker.spawn(async move {
                    let answer = gateway.commands.send_to_many(&user, to, body, client_msg_id).await;
                    session.answer(Frame::Ok(reference, Box::new(answer)));
                });
                return Ok(());
            }
            command => command,
        };
        if let Command::Presence { users, watch: true } = command {
            return presence::watch(&self.gateway.sessions, session, users, reference);
        }
        let (kind, commands) = (command.kind(), &self.gateway.commands);
        let span = span_of(kind, self.protocol);
        let _entered = span.enter();
        let typing = match commands.admit_typing(session.id.as_str(), user, &command) {
            Typing::Dropped => {
                metrics::command(kind, None);
                session.answer(Frame::Ok(reference, Box::new(Answer::Done)));
                return Ok(());
            }
            Typing::Passes(pass) => pass,
        };
        let own = *user == session.user;
        let prepared = prepare(user, &session.device, own.then_some(&session.id), scopes, command);
        let Prepared { mut command, destination, message, hidden_id } = prepared.inspect_err(|failure| {
            metrics::command(kind, Some(failure.code));
        })?;
        let claim = own.then(|| self.name_marks(&mut command)).flatten();
        let (to, session) = (self.gateway.clone(), session.clone());
        let own_message = message.filter(|_| own);
        let completion = move |outcome: Outcome| {
            let repeated = outcome.repeated;
            let answer =
                outcome.result.and_then(|reply| Answer::from_reply(unhide(reply, hidden_id), destination));
            metrics::command(kind, answer.as_ref().err().map(|failure| failure.code));
            if span.is_some() {
                say_outcome(&span, &answer);
            }
            if let (Err(_), Some(pass)) = (&answer, typing) {
                to.commands.typing.forget(pass);
            }
            // An earlier attempt may have filed the message without telling
            // this session: then there is a hole that only the log can fill.
            let uncertain = match &answer {
                Ok(Answer::Sent(_, sent)) => sent.position == 0 && repeated,
                Err(failure) => failure.code == ErrorCode::Unavailable,
                Ok(_) => false,
            };
            match (answer, own_message) {
                (Ok(Answer::Sent(conversation, sent)), Some(message)) => {
                    let event = Event::own(&conversation, &sent, session.user.as_str(), message);
                    if let Some(mark) = event.mark() {
                        to.sessions.newest.admits(&mark);
                    }
                    let offered =
                        session.offer_own(reference, conversation.as_str(), sent, event, to.sessions.store());
                    to.sessions.hub.settle(&session, offered);
                    if uncertain {
                        session.catch_up(CatchUp::Hole);
                    }
                }
                (Ok(Answer::Sent(conversation, sent)), None) => session.answer(Frame::Sent {
                    reference,
                    conversation: conversation.as_str().into(),
                    sent: Box::new(sent),
                    cursor: None,
                }),
                (Ok(Answer::Published(channel, sent)), _) => {
                    session.answer(Frame::Published { reference, channel, sent: Box::new(sent) });
                }
                (Ok(answer), _) if kind == CommandKind::Ack => {
                    if let Some(claim) = claim {
                        session.acknowledged(claim);
                    }
                    if session.answer_late(Frame::Ok(reference, Box::new(answer))) {
                        to.sessions.hub.hurry_later(session);
                    }
                }
                (Ok(answer), _) => session.answer(Frame::Ok(reference, Box::new(answer))),
                (Err(failure), message) => {
                    session.answer(Frame::Error(reference, Box::new(failure)));
                    if uncertain && message.is_some() {
                        session.catch_up(CatchUp::Hole);
                    }
                }
            }
        };
        let (sessions, user) = (&self.gateway.sessions, user.clone());
        let group = claim.and_then(|_| gathered_acks::group_of(&command));
        let request = HeldAck { user, command, completion: Box::new(completion) };
        let at_once = match group {
            Some(group) => sessions.gathered_acks.hold(&group, &self.session, request),
            None => Some(request),
        };
        if let Some(HeldAck { user, command, completion }) = at_once {
            self.gateway.context.routers.submit(&user, command, completion);
        }
        Ok(())
    }

    /// Adds to an `ack` what the session knows of it.
    fn name_marks(&self, command: &mut request::Command) -> Option<AckClaim> {
        let request::Command::Ack(ack) = command else { return None };
        // Read first: see `Session::acknowledges`.
        let store = self.gateway.sessions.store();
        let (handed_out, claim) = self.session.acknowledges(ack.cursor?.into(), store);
        ack.handed_out = handed_out;
        claim
    }

    /// Takes a new token for the same user and device, whose scopes and end
    /// count from now on. Fetching its key may take a while, which must not
    /// stop other frames.
    fn renew(&self, token: String, reference: Reference) {
        let (gateway, session) = (self.gateway.clone(), self.session.clone());
        let permissions = self.permissions.clone();
        self.gateway.context.tracker.spawn(async move {
            let verified = gateway.callers.believed.verify(&token).await.and_then(|identity| {
                let device = identity.device.as_ref().is_none_or(|device| *device == session.device);
                if identity.user == session.user && device {
                    Ok(identity)
                } else {
                    Err(Failure::forbidden("the token is for another user or device"))
                }
            });
            session.answer(match verified {
                Ok(identity) => {
                    permissions.set(identity.permissions);
                    gateway.sessions.renew(&session, identity.proof);
                    Frame::Ok(reference, Box::new(Answer::Done))
                }
                Err(failure) => Frame::Error(reference, Box::new(failure)),
            });
        });
    }

    /// Answers a refused command. Returns an end when there were too many.
    fn refuse(&mut self, reference: Reference, failure: Failure) -> Option<End> {
        let end = self.violations.count(failure.code, Instant::now());
        self.session.answer(Frame::Error(reference, Box::new(failure)));
        end
    }
}

/// Begins a trace for a command, if it is sampled.
fn span_of(kind: CommandKind, protocol: &'static str) -> Span {
    let kind = kind.as_str();
    Span::begin(kind, trace::Kind::Server, || {
        vec![
            KeyValue::new("network.protocol.name", protocol),
            KeyValue::new("messaging.system", "switchboard"),
            KeyValue::new("messaging.operation.name", kind),
            KeyValue::new("switchboard.command", kind),
        ]
    })
}

fn say_outcome(span: &Span, answer: &Result<Answer, Failure>) {
    match answer {
        Ok(Answer::Sent(conversation, sent)) => {
            span.set("messaging.destination.name", conversation.to_string());
            span.set("messaging.message.id", sent.seq.to_string());
        }
        Ok(_) => {}
        Err(failure) => span.failed(failure.code.as_str()),
    }
}
