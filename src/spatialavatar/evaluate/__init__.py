"""How good pictures of avatars are: metrics, protocols, tables; for our avatars and for anybody's pictures."""

from spatialavatar.evaluate.score import Scores as Scores
from spatialavatar.evaluate.score import score_pictures as score_pictures
