//! Which command goes where. Frequent commands go to batchers, in the order in
//! which they come. Each rare command runs as a task; the number of tasks is
//! bounded.

use std::sync::Arc;
use std::time::Instant;

use prost::Message as _;
use proto::wire::{Request, reply, request};
use proto::{RequestKind, UserId};

use crate::answers::Responder;
use crate::batcher::Batcher;
use crate::command::{
    amend, channel, conversations, done, group, history, kick, marks, presence, revoke, send, session,
    ticket, typing,
};
use crate::core::{Core, traced};
use crate::error::{Error, Result};
use crate::metrics;

/// Begins a request, whose answer goes to `to`. Does not wait, so that the
/// frequent commands of one link keep their order.
pub(crate) fn dispatch(core: &Arc<Core>, request: Request, mut to: Responder) {
    use request::Command;

    let Some(command) = request.command else {
        return to.answer(Err(Error::BadRequest("no command that is known here".to_owned())));
    };
    to.command(RequestKind::of(&command).as_str(), &request.trace);
    let _span = to.span().enter();
    let user = match UserId::parse(&request.user) {
        Ok(user) => user,
        Err(invalid) => return to.answer(Err(Error::field("user", invalid))),
    };
    let shared = core.clone();
    match command {
        Command::Send(send) => {
            let bytes = send.body.len();
            gather(&core.posts, send::post(user, send).map(traced), bytes, to, send::sent);
        }
        Command::Attach(attach) => {
            let notices = core.notices.clone();
            let asked = session::attach(user.clone(), &attach);
            gather(&core.attaches, asked, 0, to, move |outcome| {
                Ok(session::attached(&user, &attach, outcome, &notices))
            });
        }
        Command::Detach(detach) => {
            let absences = core.absences.clone();
            let asked = session::detach(user.clone(), &detach);
            gather(&core.detaches, asked, 0, to, move |last| {
                presence::left(user, last, &absences);
                Ok(done())
            });
        }
        Command::ReadInbox(query) => {
            gather(&core.inboxes, session::query(user, &query), 0, to, |page| Ok(session::page(page)));
        }
        Command::Ack(ack) => {
            let receipts = core.receipts.clone();
            let way = if ack.handed_out.is_some() { "named" } else { "looked_up" };
            metrics::ACKNOWLEDGEMENTS.add(&[way], 1);
            let bytes = ack.encoded_len();
            gather(&core.acknowledges, session::acknowledge(user.clone(), ack), bytes, to, move |outcome| {
                marks::delivered(user, outcome, &receipts)
            });
        }
        Command::Read(read) => {
            let receipts = core.receipts.clone();
            match marks::read(user, &read) {
                Ok(mark) => gather(&core.marks, Ok(mark.clone()), 0, to, move |outcome| {
                    marks::marked(mark, outcome, &receipts)
                }),
                Err(refusal) => to.answer(Err(refusal)),
            }
        }
        Command::Typing(say) => core.run(to, async move { typing::say(&shared, user, say).await }),
        Command::History(query) => core.run(to, async move { history::page(&shared, user, query).await }),
        Command::Conversations(query) => {
            core.run(to, async move { conversations::page(&shared, user, query).await });
        }
        Command::CreateGroup(create) => {
            core.run(to, async move { group::create(&shared, user, create).await });
        }
        Command::Members(query) => core.run(to, async move { group::members(&shared, user, query).await }),
        Command::AddMembers(add) => core.run(to, async move { group::add(&shared, user, add).await }),
        Command::RemoveMember(remove) => {
            core.run(to, async move { group::remove(&shared, user, remove).await });
        }
        Command::SetRole(set) => core.run(to, async move { group::set_role(&shared, user, set).await }),
        Command::Rename(rename) => core.run(to, async move { group::rename(&shared, user, rename).await }),
        Command::IssueTicket(issue) => core.run(to, async move { ticket::issue(&shared, issue).await }),
        Command::RedeemTicket(redeem) => core.run(to, async move { ticket::redeem(&shared, redeem).await }),
        Command::ReturnTicket(back) => core.run(to, async move { ticket::give_back(&shared, back).await }),
        // In one queue with messages: an edit may follow right behind its message.
        Command::Edit(asked) => {
            let bytes = asked.body.len();
            gather(&core.posts, amend::edit(user, asked).map(traced), bytes, to, amend::amended);
        }
        Command::Recall(asked) => {
            gather(&core.posts, amend::recall(user, &asked).map(traced), 0, to, amend::amended);
        }
        Command::React(asked) => {
            gather(&core.posts, amend::react(user, asked).map(traced), 0, to, amend::amended);
        }
        Command::Presence(asked) => core.run(to, async move { presence::ask(&shared, asked).await }),
        Command::Unwatch(asked) => core.run(to, async move { presence::unwatch(&shared, asked).await }),
        Command::Kick(asked) => core.run(to, async move { kick::kick(&shared, user, asked).await }),
        Command::Revoke(asked) => {
            let bytes = asked.encoded_len();
            gather(&core.revocations, revoke::revocation(asked), bytes, to, revoke::revoked);
        }
        Command::ReadRevocations(asked) => core.run(to, async move { revoke::read(&shared, asked).await }),
        Command::Publish(asked) => {
            let bytes = asked.body.len();
            gather(&core.broadcasts, channel::broadcast(user, asked), bytes, to, |done| {
                Ok(channel::published(done))
            });
        }
        Command::CountRates(asked) => {
            to.answer(core.rates.count(&asked, Instant::now()).map(reply::Result::Counted));
        }
        Command::JoinChannel(asked) => core.run(to, async move { channel::join(&shared, user, asked).await }),
        Command::LeaveChannel(asked) => {
            core.run(to, async move { channel::leave(&shared, user, asked).await })
        }
        Command::ReadChannel(asked) => {
            gather(&core.channels, channel::query(&asked), 0, to, move |page| {
                Ok(channel::page(&asked.channel, page))
            });
        }
    }
}

/// Queues `item`, or answers why there is none.
fn gather<I, O>(
    queue: &Batcher<I, O>,
    item: Result<I>,
    bytes: usize,
    to: Responder,
    convert: impl FnOnce(O) -> Result<reply::Result> + Send + 'static,
) where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    match item {
        Ok(item) => queue.submit(item, bytes, move |outcome| to.answer(outcome.and_then(convert))),
        Err(refusal) => to.answer(Err(refusal)),
    }
}
