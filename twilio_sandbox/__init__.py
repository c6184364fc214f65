"""A local stand-in for Twilio, for trying the connector and for its tests: messages and the set-up.

`python -m twilio_sandbox` starts one; in a test:

    with Sandbox() as sandbox:
        twilio.run("send_sms", {"to": "+14155550123", "body": "Hola"}, sandbox.settings)
        sandbox.advance(2)

It listens on loopback only, keeps everything in memory and sends nothing to anybody. A message
takes one step every `step_seconds`: queued, sending, sent, delivered; through a Messaging Service
it is 'accepted' first and its `from` is null until then.

`python -m twilio_sandbox --scenarios` lists how the account can be set up: a trial account of
either kind, a suspended one, keys of each kind, numbers that can't send, and more.
`sandbox.set_up(…)` changes it, and `sandbox.do_step(5)` does step 5 of the connector's document,
as in the console.

Senders (`From`) of the account that is ready: +15005550006, the numbers reserved for fiction (+1
NXX 555 01XX, for example +14155550100), short codes, alphanumeric senders (not to the US, Canada,
Puerto Rico or Colombia: 21657), `whatsapp:` and a number, and any Messaging Service ('MG' and 32
hex digits). Any other number is not one of Twilio's: 21659.

Numbers that lead to an error at once, with live and with test credentials alike:

    From +15005550001  21212  not a valid number
    From +15005550007  21606  on the account, but it cannot send SMS
    From +15005550008  21611  its queue is full
    To   +15005550001  21211  not a valid number
    To   +15005550002  21612  no route
    To   +15005550003  21408  country not enabled (Geo Permissions)
    To   +15005550004  21610  the recipient has opted out
    To   +15005550009  21614  not a mobile number
    To   +15005550010  21608  not verified, as on a trial account (the sandbox's own)

    MessagingServiceSid MG and 32 zeros           21704  it has no sender
    MessagingServiceSid MG, 31 zeros and a 1      21703  no sender can reach the recipient
    MessagingServiceSid MG, 31 zeros and a 2      21701  there is no such service (HTTP 404)

Numbers that are accepted and fail later (the sandbox's own; the last digits are the error code's):

    To   +15005553001  failed       30001  queue overflow
    To   +15005553002  failed       30002  account suspended
    To   +15005553003  undelivered  30003  unreachable
    To   +15005553004  undelivered  30004  blocked
    To   +15005553005  undelivered  30005  unknown handset
    To   +15005553006  undelivered  30006  landline or unreachable carrier
    To   +15005553007  undelivered  30007  filtered
    To   +15005553008  undelivered  30008  unknown error
    To   +15005553032  failed       30032  toll-free number not verified
    To   +15005553034  failed       30034  US number not registered (10DLC)
    To   +15005553044  failed       30044  too long for a trial account
    To   +15005553450  failed       30450  SMS pumping protection

Test credentials may only create messages, from +15005550006; those are answered and not kept.

What a test can do with a sandbox (from another process: by HTTP, JSON in and out):

    sandbox.settings              settings for the connector; .settings_with("standard"): a key's
    sandbox.messages              what is stored, newest first       GET /_sandbox/messages
    sandbox.requests              what was asked, oldest first       GET /_sandbox/requests
    sandbox.add({"body": "Hi"})   store a message                    POST /_sandbox/messages
    sandbox.seed(1000, seed=7)    store made-up messages             POST /_sandbox/messages
    sandbox.advance(60)           move the clock                     POST /_sandbox/clock
    sandbox.fail("reset_after", method="POST", times=2, after=1)     POST /_sandbox/faults
    sandbox.behave(trial_prefix=True, list_lag_seconds=5)            POST /_sandbox/behaviour
    sandbox.set_up(countries=["US"])    the account's set-up         POST /_sandbox/setup
    sandbox.do_step(6)            a step of the document             POST /_sandbox/steps/6
    sandbox.clear_faults()        no more faults                     DELETE /_sandbox/faults
    sandbox.reset()               forget everything                  DELETE /_sandbox

Like Twilio it answers in gzip to whoever takes it, and dates its answers by its own clock, which
`Sandbox(clock_offset_seconds=-30)` puts behind this machine's. `behave` (or the constructor) sets
how the account treats messages:

    list_lag_seconds=5       a message is in lists 5 s after it was created, by its SID at once
    order_jitter_seconds=2   lists are only nearly in the order of `date_created`
    trial_prefix=True        texts begin with "Sent from your Twilio trial account - "
    default_service="MG…"    what `messaging_service_sid` shows where no service was used

Faults are in `twilio_sandbox.faults`: 429, 5xx, resets, withheld, dripped, early, raw and wrong
answers, messages that are listed late (`late`) or that somebody else sends too (`twin`). The last
two act on a message together with another fault, so that
`fail("twin"); fail("late", seconds=3); fail("withhold", method="POST")` makes one send that is not
answered, stored twice, of which one is seen at once and one after 3 s.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["Sandbox"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: without the extra [sandbox], `python -m twilio_sandbox` says so.
    if name == "Sandbox":
        from .server import Sandbox

        return Sandbox
    raise AttributeError(name)
