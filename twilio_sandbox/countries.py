"""Which country a phone number belongs to. Only the sandbox uses this: it is not complete."""

from __future__ import annotations

import re
from functools import lru_cache

# Calling codes (ITU E.164) of countries, and area codes of those that share +1 with the US.
_CODES = """
7 RU 20 EG 27 ZA 30 GR 31 NL 32 BE 33 FR 34 ES 36 HU 39 IT 40 RO 41 CH 43 AT 44 GB 45 DK 46 SE
47 NO 48 PL 49 DE 51 PE 52 MX 53 CU 54 AR 55 BR 56 CL 57 CO 58 VE 60 MY 61 AU 62 ID 63 PH 64 NZ
65 SG 66 TH 81 JP 82 KR 84 VN 86 CN 90 TR 91 IN 92 PK 93 AF 94 LK 95 MM 98 IR 212 MA 213 DZ
216 TN 218 LY 220 GM 221 SN 225 CI 233 GH 234 NG 237 CM 251 ET 254 KE 255 TZ 256 UG 258 MZ 260 ZM
263 ZW 351 PT 352 LU 353 IE 354 IS 356 MT 357 CY 358 FI 359 BG 370 LT 371 LV 372 EE 373 MD 374 AM
375 BY 380 UA 381 RS 385 HR 386 SI 387 BA 420 CZ 421 SK 501 BZ 502 GT 503 SV 504 HN 505 NI 506 CR
507 PA 509 HT 591 BO 592 GY 593 EC 595 PY 597 SR 598 UY 852 HK 853 MO 855 KH 880 BD 886 TW 961 LB
962 JO 964 IQ 965 KW 966 SA 968 OM 970 PS 971 AE 972 IL 973 BH 974 QA 977 NP 992 TJ 994 AZ 995 GE
998 UZ 1204 CA 1226 CA 1236 CA 1249 CA 1250 CA 1289 CA 1306 CA 1343 CA 1365 CA 1403 CA 1416 CA
1418 CA 1431 CA 1437 CA 1438 CA 1450 CA 1506 CA 1514 CA 1519 CA 1548 CA 1579 CA 1581 CA 1587 CA
1604 CA 1613 CA 1639 CA 1647 CA 1705 CA 1709 CA 1778 CA 1780 CA 1782 CA 1807 CA 1819 CA 1825 CA
1867 CA 1873 CA 1902 CA 1905 CA 1242 BS 1246 BB 1441 BM 1787 PR 1809 DO 1829 DO 1849 DO 1868 TT
1876 JM 1939 PR
"""
CALLING_CODES = dict(zip(_CODES.split()[::2], _CODES.split()[1::2], strict=True))

# Countries that refuse alphanumeric senders.
NO_ALPHANUMERIC = frozenset(("US", "CA", "PR", "CO"))

E164 = re.compile(r"\+(1[2-9][0-9]{9}|[2-9][0-9]{6,14})")
_TOLL_FREE = re.compile(r"\+18(00|33|44|55|66|77|88)[0-9]{7}")


@lru_cache(maxsize=4096)
def country_of(number: str) -> str | None:
    """Return the ISO code of the country of an E.164 number, or None if it is not known."""
    if not E164.fullmatch(number):
        return None
    for length in (4, 3, 2, 1):
        if number[1 : 1 + length] in CALLING_CODES:
            return CALLING_CODES[number[1 : 1 + length]]
    return "US" if number.startswith("+1") else None


def calling_code_of(country: str) -> str | None:
    """Return a country's calling code without the +, or None if it is not known."""
    for code, name in CALLING_CODES.items():
        if name == country:
            return "1" if len(code) == 4 else code
    return "1" if country == "US" else None


def is_toll_free(number: str) -> bool:
    return bool(_TOLL_FREE.fullmatch(number))
