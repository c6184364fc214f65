"""A local simulator of Twilio, to try the connector and to test it.

`python -m twilio_sandbox` starts one; in a test:

    with Sandbox() as sandbox:
        twilio.run("send_sms", {"to": "+14155550123", "body": "Hola"}, sandbox.settings)
        sandbox.advance(2)

It listens on loopback only, keeps everything in memory and never sends a real message. Every
`step_seconds`, the status of a message changes: queued, sending, sent, delivered. With a Messaging
Service, a message is 'accepted' first, and its `from` is null as long as it is 'accepted'.

`python -m twilio_sandbox --scenarios` lists how the account can be set up: a trial account of
either kind, a suspended one, keys of each kind, numbers that can't send, and more.
`sandbox.set_up(…)` changes it, and `sandbox.do_step(5)` does step 5 of the connector's document,
as in the console.

Senders (`From`) of the account that is ready: +15005550006, the numbers reserved for fiction (+1
NXX 555 01XX, for example +14155550100), short codes, alphanumeric senders (not to the US, Canada,
Puerto Rico or Colombia: 21657), `whatsapp:` and a number, and any Messaging Service ('MG' and 32
hex digits). Any other number is not one of Twilio's: 21659.

Numbers that cause an error at once, with live and with test credentials:

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

Numbers that are accepted and fail later (only the sandbox has them; the last digits are those of
the error code):

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

Test credentials may only create messages, from +15005550006. Such messages are not stored.

What a test can do with a sandbox (or with HTTP and JSON, from another process):

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

Like Twilio, it compresses an answer if the client accepts gzip, and its answers have the date of
its own clock. `Sandbox(clock_offset_seconds=-30)` sets that clock 30 s behind this machine's.
`behave` (or the constructor) sets how the account treats messages:

    list_lag_seconds=5       lists show a message 5 s after it was created; by its SID, at once
    order_jitter_seconds=2   lists are not exactly in the order of `date_created`
    trial_prefix=True        texts begin with "Sent from your Twilio trial account - "
    default_service="MG…"    `messaging_service_sid` of messages that use no service

Faults are in `twilio_sandbox.faults`: 429, 5xx, resets, answers that are missing, slow, early or
wrong, messages that lists show late (`late`) and messages that somebody else sends too (`twin`).
The last two act together with another fault. For example,
`fail("twin"); fail("late", seconds=3); fail("withhold", method="POST")` lets one send get no
answer and stores two messages: lists show one at once and the other after 3 s.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["Sandbox"]


def __getattr__(name: str) -> Any:
    # Import it only when it is used. Then `python -m twilio_sandbox` can print a clear message if
    # the extra [sandbox] is not installed.
    if name == "Sandbox":
        from .server import Sandbox

        return Sandbox
    raise AttributeError(name)
