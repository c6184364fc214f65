"""A local stand-in for Twilio's Messages resource, for trying the connector and for its tests.

`python -m twilio_sandbox` starts one; in a test:

    with Sandbox() as sandbox:
        twilio.run("send_sms", {"to": "+14155550123", "body": "Hola"}, sandbox.settings)
        sandbox.advance(2)

It listens on loopback only, keeps everything in memory and sends nothing to anybody. A message
takes one step every `step_seconds`: queued, sending, sent, delivered; through a Messaging Service
it is 'accepted' first and its `from` is null until then.

Senders (`From`): +15005550006, the numbers reserved for fiction (+1 NXX 555 01XX, for example
+14155550100), short codes, alphanumeric senders, `whatsapp:` and a number, and any Messaging
Service ('MG' and 32 hex digits). Any other number is not one of Twilio's: 21659.

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
    MessagingServiceSid MG and 32 zeros  21703  it has no sender (the sandbox's own)

Numbers that are accepted and fail later (the sandbox's own; the last digits are the error code's):

    To   +15005553001  failed       30001  queue overflow
    To   +15005553002  failed       30002  account suspended
    To   +15005553003  undelivered  30003  unreachable
    To   +15005553004  undelivered  30004  blocked
    To   +15005553005  undelivered  30005  unknown handset
    To   +15005553006  undelivered  30006  landline or unreachable carrier
    To   +15005553007  undelivered  30007  filtered
    To   +15005553008  undelivered  30008  unknown error

Test credentials may only create messages, from +15005550006; those are answered and not kept.
Faults (429, 5xx, resets, withheld answers and more) are in `twilio_sandbox.faults`.
"""

from .server import Sandbox

__all__ = ["Sandbox"]
