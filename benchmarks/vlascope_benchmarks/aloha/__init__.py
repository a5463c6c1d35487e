"""ALOHA: two arms, from gym-aloha."""
