"""The requests about the account's set-up: the account, its numbers and permissions."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from .answers import Answer, Question, listing, newer_listing, not_found
from .countries import calling_code_of, country_of, is_toll_free
from .credentials import Account
from .setup import Setup
from .store import API_VERSION, as_rfc2822

_CREATED, _UPDATED = 1525000000, 1526000000
_ISO_DATES = {"date_created": "2018-04-29T11:06:40Z", "date_updated": "2018-05-11T00:53:20Z"}


def account(account: Account, setup: Setup) -> Answer:
    uri = f"/{API_VERSION}/Accounts/{account.sid}"
    return Answer(
        200,
        {
            "auth_token": account.auth_token,
            "date_created": as_rfc2822(_CREATED),
            "date_updated": as_rfc2822(_UPDATED),
            "friendly_name": setup.friendly_name,
            "owner_account_sid": setup.owner or account.sid,
            "sid": account.sid,
            "status": setup.status,
            "subresource_uris": {
                "balance": f"{uri}/Balance.json",
                "incoming_phone_numbers": f"{uri}/IncomingPhoneNumbers.json",
                "messages": f"{uri}/Messages.json",
                "outgoing_caller_ids": f"{uri}/OutgoingCallerIds.json",
            },
            "type": setup.type,
            "uri": f"{uri}.json",
        },
    )


def balance(question: Question, account: Account, setup: Setup) -> Answer:
    if setup.balance is None:
        # A subaccount has no balance of its own: it uses its owner's
        return not_found(question)
    return Answer(200, {"account_sid": account.sid, "balance": setup.balance, "currency": "USD"})


def phone_numbers(question: Question, account: Account, setup: Setup) -> Answer:
    asked = question.parameter("PhoneNumber")
    listed = list(setup.numbers) if asked is None else [asked]
    entries = [
        _phone_number(account.sid, number, able)
        for number in listed
        if (able := setup.number(number)) is not None
    ]
    return listing(question, "incoming_phone_numbers", entries)


def _phone_number(account_sid: str, number: str, able: Any) -> dict[str, Any]:
    sid = sid_of(number)
    return {
        "account_sid": account_sid,
        "api_version": API_VERSION,
        "capabilities": {
            "fax": False,
            "mms": able["mms"],
            "sms": able["sms"],
            "voice": able["voice"],
        },
        "date_created": as_rfc2822(_CREATED),
        "date_updated": as_rfc2822(_UPDATED),
        "friendly_name": number,
        "phone_number": number,
        "sid": sid,
        "status": "in-use",
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}.json",
        "voice_url": "",
    }


def sid_of(number: str) -> str:
    return "PN" + number.removeprefix("+").zfill(32)


def caller_ids(question: Question, account: Account, setup: Setup) -> Answer:
    asked = question.parameter("PhoneNumber")
    entries = [
        {
            "account_sid": account.sid,
            "date_created": as_rfc2822(_CREATED),
            "date_updated": as_rfc2822(_UPDATED),
            "friendly_name": number,
            "phone_number": number,
            "sid": sid_of(number),
            "uri": f"/{API_VERSION}/Accounts/{account.sid}/OutgoingCallerIds/{sid_of(number)}.json",
        }
        for number in setup.verified
        if asked in (None, number)
    ]
    return listing(question, "outgoing_caller_ids", entries)


def services(question: Question, account: Account, setup: Setup, origin: str) -> Answer:
    listed = [_service(account, sid, origin) for sid in setup.services]
    return newer_listing(question, "services", listed, origin)


def service(
    question: Question, account: Account, setup: Setup, origin: str, sid: str, part: str
) -> Answer:
    """Answer for a Messaging Service or one of its lists of senders."""
    senders = setup.service(sid)
    if senders is None:
        return not_found(question)
    common = {"account_sid": account.sid, "service_sid": sid, **_ISO_DATES}
    if part == "":
        return Answer(200, _service(account, sid, origin))
    if part == "/PhoneNumbers":
        entries = [
            {
                "capabilities": [
                    name.upper()
                    for name in ("mms", "sms", "voice")
                    if (setup.number(number) or {}).get(name)
                ],
                "country_code": country_of(number),
                "phone_number": number,
                "sid": sid_of(number),
                **common,
            }
            for number in senders["numbers"]
        ]
        return newer_listing(question, "phone_numbers", entries, origin)
    if part == "/AlphaSenders":
        entries = [
            {"alpha_sender": name, "capabilities": ["SMS"], "sid": "AI" + 32 * "0", **common}
            for name in senders["alpha"]
        ]
        return newer_listing(question, "alpha_senders", entries, origin)
    if part == "/ShortCodes":
        entries = [
            {
                "capabilities": ["SMS"],
                "country_code": "US",
                "short_code": code,
                "sid": "SC" + code.zfill(32),
                **common,
            }
            for code in senders["short_codes"]
        ]
        return newer_listing(question, "short_codes", entries, origin)
    campaign = senders["campaign"]
    entries = [] if campaign is None else [{"campaign_status": campaign, "sid": "QE" + 32 * "0"}]
    return newer_listing(question, "compliance", entries, origin)


def _service(account: Account, sid: str, origin: str) -> dict[str, Any]:
    return {
        "account_sid": account.sid,
        "friendly_name": "Sandbox service",
        "sid": sid,
        "url": f"{origin}/v1/Services/{sid}",
        **_ISO_DATES,
    }


def toll_free_verifications(question: Question, setup: Setup, origin: str) -> Answer:
    asked = question.parameter("TollfreePhoneNumberSid")
    entries = [
        {
            "sid": "HH" + sid_of(number)[2:],
            "status": "TWILIO_APPROVED",
            "tollfree_phone_number_sid": sid_of(number),
        }
        for number in setup.numbers
        if is_toll_free(number)
        and (setup.number(number) or {}).get("registered")
        and asked in (None, sid_of(number))
    ]
    return newer_listing(question, "verifications", entries, origin)


def geo_permissions(question: Question, setup: Setup) -> Answer:
    country = question.parameter("CountryCode") or ""
    code = calling_code_of(country)
    if code is None:
        return not_found(question)
    permission = {
        "country_code": country,
        "enabled": setup.is_enabled(country),
        "message": None,
        "prefix": f"+{code}",
        "type": "country",
    }
    return Answer(200, {"permissions": [permission]})


def dialing_permissions(question: Question, setup: Setup, country: str) -> Answer:
    code = calling_code_of(country)
    if code is None:
        return not_found(question)
    return Answer(
        200,
        {
            "country_codes": [code],
            "high_risk_special_numbers_enabled": False,
            "high_risk_tollfraud_numbers_enabled": False,
            "iso_code": country,
            "low_risk_numbers_enabled": setup.is_enabled(country, voice=True),
            "name": country,
        },
    )


def lookup(number: str, origin: str) -> Answer:
    number = unquote(number)
    country = country_of(number)
    digits = number.removeprefix("+")
    if country is not None:
        errors: list[str] = []
    elif not digits.isascii() or not digits.isdigit():
        errors = ["NOT_A_NUMBER"]
    else:
        errors = ["TOO_SHORT"] if len(digits) < 9 else ["INVALID_BUT_POSSIBLE"]
    return Answer(
        200,
        {
            "calling_country_code": calling_code_of(country) if country else None,
            "caller_name": None,
            "country_code": country,
            "line_type_intelligence": None,
            "national_format": digits,
            "phone_number": number,
            "url": f"{origin}/v2/PhoneNumbers/{number}",
            "valid": country is not None,
            "validation_errors": errors,
        },
    )
