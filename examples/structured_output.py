"""An answer with a type: watched while it grows, validated at the end, and asked for again where it is wrong."""

from pydantic import BaseModel, Field

from miniagents import MiniAgents
from miniagents.ext.llms import Script, ScriptedAgent, parse_reply, stream_parsed


class Song(BaseModel):
    """A song. What stands here, the model reads too."""

    title: str
    seconds: int = Field(gt=0)


class Playlist(BaseModel):
    """Songs to be played one after another."""

    name: str
    songs: list[Song]


# A stand-in for a real model, such as `OpenAIAgent.fork(model=...)`; numbers are seconds of silence between its tokens.
PLAYLIST = [
    *('{"name": "Late ', 0.1, 'night", "songs": [', 0.1, '{"title": "So What", "seconds": 5', 0.1, "45}"),
    *(', {"title": "Blue ', 0.1, 'in Green", ', 0.1, '"seconds": 337}]}'),
]
WRONG, RIGHT = '{"title": "Freddie Freeloader", "seconds": -1}', '{"title": "Freddie Freeloader", "seconds": 589}'
model = ScriptedAgent.fork(script=Script(PLAYLIST, WRONG, RIGHT))


async def main() -> None:
    replies = model.inquire("Make me a playlist.", response_model=Playlist)
    async for partial in stream_parsed(replies, Playlist):
        if isinstance(partial, Playlist):
            print(f"All of it: {len(partial.songs)} songs, {sum(song.seconds for song in partial.songs)} seconds.")
        else:
            print(partial)

    song = await parse_reply(model.inquire("One more?", response_model=Song), Song)
    print(f"One more: {song.title}, {song.seconds} seconds.")


if __name__ == "__main__":
    MiniAgents().run(main())
