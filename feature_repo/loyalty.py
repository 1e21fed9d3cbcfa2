"""Where one loyalty tier ends and the next begins: what batch and service must call alike."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoyaltyRules:
    """Orders ever, and decayed orders (half-life 90 days).

    The decayed count makes a tier something that has to be kept up: ten orders years ago are not VIP.
    """

    standard_orders: int = 2
    premium_orders: int = 5
    premium_recent_orders: float = 1.0
    vip_orders: int = 10
    vip_recent_orders: float = 3.0

    def tier(self, orders: float | None, recent: float | None) -> str | None:
        """VIP, Premium, Standard or New; None when nothing is known about the customer's orders."""
        if orders is None or orders != orders:
            return None
        recent = recent or 0.0
        if orders >= self.vip_orders and recent >= self.vip_recent_orders:
            return "VIP"
        if orders >= self.premium_orders and recent >= self.premium_recent_orders:
            return "Premium"
        return "Standard" if orders >= self.standard_orders else "New"
