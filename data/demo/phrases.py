"""The phrases of which generate.py makes the demo data.

Words in braces are filled in, once for each dialogue: {when}, {kin} (with {he}, {him}, {his}), {name}, {place} and the
slots below. A comma in an utterance becomes `_comma_` in the files.
"""

from typing import NamedTuple

KIN = {
    "sister": "she", "brother": "he", "mother": "she", "father": "he", "aunt": "she", "uncle": "he",
    "grandmother": "she", "grandfather": "he", "daughter": "she", "son": "he", "niece": "she", "nephew": "he",
}  # fmt: skip
PRONOUNS = {"she": {"he": "she", "him": "her", "his": "her"}, "he": {"he": "he", "him": "him", "his": "his"}}
NAMES = {
    "Anna": "she", "Maria": "she", "Lucy": "she", "Nina": "she", "Sara": "she", "Emma": "she", "Rosa": "she",
    "Tom": "he", "Peter": "he", "David": "he", "Ben": "he", "Omar": "he", "Leo": "he", "Jack": "he",
}  # fmt: skip

SLOTS = {
    "when": ["yesterday", "last night", "this morning", "last week", "on Monday", "on Friday", "last month", "today"],
    "place": [
        "the park",
        "the market",
        "the station",
        "the library",
        "the lake",
        "the school",
        "the office",
        "the town",
    ],
    "exam": ["driving", "maths", "history", "music", "reading", "cooking"],
    "pet": ["dog", "cat", "rabbit", "parrot"],
    "thing": ["bike", "phone", "bag", "watch", "coat", "camera"],
    "meal": ["soup", "cake", "bread", "pasta", "apple pie", "rice"],
    "sport": ["football", "tennis", "chess", "swimming", "running"],
    "job": ["nurse", "teacher", "cook", "driver", "gardener", "painter"],
    "trip": ["the sea", "the mountains", "the island", "the big city", "the forest", "the old farm"],
    "number": ["two", "three", "four", "five", "six", "ten"],
    "plant": ["roses", "tomatoes", "apples", "flowers", "beans"],
    "room": ["kitchen", "bedroom", "garden", "hall", "office"],
    "weather": ["rain", "snow", "wind", "fog", "sun", "storm"],
    "colour": ["red", "blue", "green", "yellow", "white", "brown"],
}


class Event(NamedTuple):
    """Something that happens to somebody, told by themselves (to a listener) and by others (in the corpus)."""

    situation: str
    openings: tuple[str, str]
    questions: tuple[str, str]
    answers: tuple[str, str]
    story: str


class Emotion(NamedTuple):
    """A feeling: how a listener takes it up and how they encourage."""

    feelings: tuple[str, ...]
    acknowledgements: tuple[str, ...]
    encouragements: tuple[str, ...]
    events: tuple[Event, ...]


GLAD = (
    "I am so happy for you.",
    "You really deserve this.",
    "Enjoy every minute of it.",
    "I hope there are many more days like this.",
    "Keep that good feeling for a long time.",
)
SORRY = (
    "I am sure it will get better.",
    "Be kind to yourself, it takes time.",
    "You are not alone with this.",
    "I am here if you want to talk.",
    "It is all right to feel like that.",
)
CALM = (
    "Take it one step at a time.",
    "You can do this, I am sure.",
    "Try to rest a little, you have done what you can.",
    "It will be over soon, and you will be fine.",
    "Whatever happens, it will be all right.",
)

EMOTIONS = {
    "proud": Emotion(
        ("I am so proud", "I feel really proud", "I could not be prouder"),
        (
            "That is wonderful, you must be so proud!",
            "Well done, what a great thing!",
            "Wow, you can be proud of that!",
        ),
        GLAD,
        (
            Event(
                "I passed my {exam} exam {when}.",
                ("I passed my {exam} exam {when}!", "{When} I heard that I passed the {exam} exam."),
                ("Did you study for a long time?", "Who did you tell first?"),
                ("I studied every night for {number} weeks.", "I called my {kin} first, and {he} cried."),
                "{Name} passed the {exam} exam and called {his} {kin}.",
            ),
            Event(
                "My {kin} won a prize for {sport} {when}.",
                ("My {kin} won the first prize in {sport} {when}.", "{When} my {kin} got a prize for {sport}."),
                ("How long has your {kin} been training?", "Did you see it yourself?"),
                ("{He} has trained for {number} years.", 'I was there, and I shouted "well done" the whole time.'),
                "{Name} won a prize for {sport}, and the whole family came to watch.",
            ),
            Event(
                "I made {meal} for {number} guests all by myself.",
                ("{When} I made {meal} for {number} guests.", "I cooked {meal} for my whole family {when}."),
                ("Did they like it?", "Where did you learn that?"),
                ("They ate it all and asked for more.", "My {kin} taught me when I was small."),
                "{Name} made {meal} for {number} guests in the small kitchen.",
            ),
            Event(
                "I got a new job as a {job}.",
                ("I got the job as a {job} {when}!", "{When} they told me that I can start as a {job}."),
                ("When do you start?", "Was it hard to get it?"),
                ("I start in {number} weeks.", "There were {number} others, and they took me."),
                "{Name} found work as a {job} near {place}.",
            ),
        ),
    ),
    "joyful": Emotion(
        ("I am so happy", "I feel full of joy", "I cannot stop smiling"),
        ("That sounds lovely!", "How nice, that makes me smile too!", "What a happy day for you!"),
        GLAD,
        (
            Event(
                "My {kin} had a baby {when}.",
                ("My {kin} had a baby {when}!", "{When} the baby of my {kin} was born."),
                ("Is it a boy or a girl?", "Have you seen the baby already?"),
                ("It is a girl, and she is so small.", "Yes, I held her for an hour."),
                "The baby was born in the night, and {Name} held it for an hour.",
            ),
            Event(
                "We got a new {pet} {when}.",
                ("We got a little {pet} {when}.", "{When} we brought home a {colour} {pet}."),
                ("What is its name?", "Does it like its new home?"),
                ("We call it {name}.", "It sleeps in the {room} and follows me everywhere."),
                "{Name} brought home a {pet}, and it slept in the {room}.",
            ),
            Event(
                "My whole family came to visit.",
                ("{When} my whole family came to see me.", "All of my family came for dinner {when}."),
                ("What did you do together?", "When did you last see them all?"),
                ("We ate {meal} and sang old songs.", "It was {number} years ago."),
                "The whole family came for dinner at the house of {Name}.",
            ),
        ),
    ),
    "excited": Emotion(
        ("I am so excited", "I can hardly wait", "I cannot sleep because I am so excited"),
        ("That is so exciting!", "Wow, I can see why you are excited!", "Oh, that sounds like fun!"),
        (
            "I hope it will be great.",
            "Tell me all about it afterwards.",
            "Enjoy every minute of it.",
            "You will love it.",
        ),
        (
            Event(
                "I am going to {trip} with my {kin} soon.",
                ("Next week I am going to {trip} with my {kin}.", "My {kin} and I will travel to {trip} soon."),
                ("What will you do there?", "How long will you stay?"),
                ("We want to walk and swim every day.", "We will stay for {number} days."),
                "{Name} packed a {colour} bag and took the train to {trip}.",
            ),
            Event(
                "I bought tickets for a concert.",
                ("I got tickets for a big concert in {place}!", "{When} I bought tickets to see my favourite band."),
                ("Who will go with you?", "Have you seen them before?"),
                ("My {kin} will come with me.", "No, I have waited for {number} years."),
                "The band played near {place}, and {Name} danced until late.",
            ),
            Event(
                "We are moving to a new house.",
                ("We are moving to a new house next month.", "We found a house with a big {room} {when}."),
                ("What do you like most about it?", "Is it far from here?"),
                ("It has a {colour} door and a big {room}.", "It is close to {place}."),
                "{Name} moved to a house with a {colour} door near {place}.",
            ),
        ),
    ),
    "grateful": Emotion(
        ("I am so grateful", "I feel very thankful", "I do not know how to thank them"),
        ("How kind!", "That is so nice to hear.", "It is good to have people like that."),
        ("You would do the same, I am sure.", "There are good people around you.", "I am so happy for you."),
        (
            Event(
                "A stranger brought back my {thing}.",
                (
                    "I lost my {thing} {when}, and a stranger brought it back.",
                    "{When} somebody found my {thing} at {place}.",
                ),
                ("Did you have time to thank them?", "Where had you lost it?"),
                ("I gave them some {meal}.", "I had left it at {place}."),
                "A stranger found the {thing} of {Name} at {place} and brought it back.",
            ),
            Event(
                "My {kin} helped me when I was ill.",
                ("I was ill {when}, and my {kin} looked after me.", "My {kin} came to help when I was ill {when}."),
                ("Are you well again?", "What did your {kin} do for you?"),
                ("I feel much better now.", "{He} made me {meal} and read to me."),
                "When {Name} was ill, {his} {kin} came with {meal}.",
            ),
            Event(
                "My friends painted my {room} for me.",
                ("My friends came {when} and painted my {room}.", "{When} my friends helped me with the {room}."),
                ("What colour did you choose?", "How did you thank them?"),
                ("It is {colour} now, and so bright.", "I made {meal} for all of them."),
                "The friends of {Name} painted the {room} {colour}.",
            ),
        ),
    ),
    "hopeful": Emotion(
        ("I am full of hope", "I really hope it works", "I have a good feeling about it"),
        ("I hope so with you!", "That sounds very good.", "It is nice to hear you so full of hope."),
        (
            "I am sure it will work.",
            "I will think of you.",
            "Keep going, it will be worth it.",
            "Good things take time.",
        ),
        (
            Event(
                "I asked for a job as a {job}.",
                (
                    "{When} I talked to them about a job as a {job}.",
                    "I wrote to {place} about a job as a {job} {when}.",
                ),
                ("When will you know more?", "What would you like most about it?"),
                ("They will call in {number} days.", "I could work near my home."),
                "{Name} wrote a letter and asked for work as a {job}.",
            ),
            Event(
                "My {kin} is getting better after a long illness.",
                (
                    "My {kin} was ill for a long time and is getting better.",
                    "{When} the doctor had good news about my {kin}.",
                ),
                ("What did the doctor say?", "How does your {kin} feel now?"),
                ("{He} can come home in {number} days.", "{He} eats again, and {he} went for a walk."),
                "The {kin} of {Name} came home from the hospital after {number} weeks.",
            ),
            Event(
                "I planted {plant} in my garden.",
                ("I planted {plant} in my garden {when}.", "{When} I saw the first green of my {plant}."),
                ("Is it your first garden?", "What will you do with them?"),
                ("Yes, and I water it every day.", "I want to give some to my {kin}."),
                "{Name} planted {plant} behind the house and watered them every day.",
            ),
        ),
    ),
    "surprised": Emotion(
        ("I was so surprised", "I did not see that coming", "I could not believe it"),
        ("Wow, what a surprise!", "Oh, I would be surprised too!", "Really? I did not see that coming!"),
        ("What a nice story.", "Such days we do not forget.", "I hope it was a good surprise for you."),
        (
            Event(
                "My friends made a party for me.",
                ("{When} I came home, and all my friends were there.", "My friends made a party for me {when}."),
                ("Did you know nothing about it?", "How did you celebrate?"),
                ("Nothing, they had planned it for {number} weeks.", "We ate {meal} and danced in the {room}."),
                "When {Name} came home, all the friends were in the {room}.",
            ),
            Event(
                "I met an old friend at {place}.",
                (
                    "I met my old friend {name} at {place} {when}.",
                    "{When} I saw {name} at {place}, after all those years.",
                ),
                ("When did you last meet?", "What did you talk about?"),
                ("We were at school together {number} years ago.", "We talked about our school and our families."),
                "{Name} met an old friend at {place}, and they talked for an hour.",
            ),
            Event(
                "I found money in an old coat.",
                (
                    "I found money in my old {colour} coat {when}.",
                    "{When} I found an old letter with money in the {room}.",
                ),
                ("What will you do with it?", "Do you know how it got there?"),
                ("I will buy a present for my {kin}.", "I think my {kin} had put it there."),
                "{Name} found an old letter in the pocket of a {colour} coat.",
            ),
        ),
    ),
    "content": Emotion(
        ("I feel calm and content", "I need nothing more", "life is good right now"),
        ("That sounds very peaceful.", "How nice, I can almost feel it.", "It is good to have such moments."),
        GLAD,
        (
            Event(
                "I spent a quiet day at {place}.",
                ("I spent a quiet day at {place} {when}.", "{When} I sat at {place} and read a book."),
                ("What did you read?", "Do you do that often?"),
                ("An old story about {trip}.", "I try to, at least once a week."),
                "{Name} sat at {place} and read a book in the sun.",
            ),
            Event(
                "I drank tea while the {weather} was outside.",
                (
                    "{When} I drank tea at home and watched the {weather}.",
                    "I sat in the {room} with tea {when}, all by myself.",
                ),
                ("Did you have some music on?", "What else did you do?"),
                ("Yes, some old songs of my {kin}.", "I made {meal} and went to bed early."),
                "{Name} drank tea in the {room} and watched the {weather}.",
            ),
            Event(
                "My {pet} fell asleep next to me.",
                ("My {pet} fell asleep next to me {when}.", "{When} I sat in the {room} with my {pet}."),
                ("How long have you had it?", "Is it always so calm?"),
                ("It came to us {number} years ago.", "Only after a long walk to {place}."),
                "The {pet} fell asleep next to {Name} in the {room}.",
            ),
        ),
    ),
    "sad": Emotion(
        ("I am so sad", "I feel very sad", "I cried a lot"),
        ("I am so sorry to hear that.", "Oh no, that must be very sad for you.", "That must hurt, I am sorry."),
        SORRY,
        (
            Event(
                "My old {pet} died {when}.",
                ("My old {pet} died {when}.", "{When} we had to say goodbye to our {pet}."),
                ("How long did you have it?", "Do you want to tell me about it?"),
                ("It was with us for {number} years.", "It always waited for me at the door."),
                "The old {pet} died in the winter, and {Name} was sad for weeks.",
            ),
            Event(
                "My best friend moved far away.",
                ("My best friend {name} moved away {when}.", "{When} my friend {name} left for {trip}."),
                ("Will you visit each other?", "How long have you been friends?"),
                ("Maybe in {number} months, it is so far.", "We have been friends for {number} years."),
                "The best friend of {Name} moved away and wrote long letters.",
            ),
            Event(
                "I had to cancel my trip to {trip}.",
                ("I had to cancel my trip to {trip} {when}.", "{When} I learned that we cannot go to {trip}."),
                ("What happened?", "Can you go at another time?"),
                ("My {kin} became ill, and I stay with {him}.", "Perhaps next year, if we have the money."),
                "The trip to {trip} had to wait, and {Name} stayed at home.",
            ),
        ),
    ),
    "lonely": Emotion(
        ("I feel so lonely", "I feel quite alone", "it is so quiet here"),
        ("That sounds lonely, I am sorry.", "It is hard to be alone so much.", "I understand, that must feel empty."),
        SORRY,
        (
            Event(
                "I moved to a new town and know nobody.",
                ("I moved to a new town {when}, and I know nobody.", "{When} I moved here for work as a {job}."),
                ("Is there a club or a class near you?", "What did you like to do at home?"),
                ("There is a group for {sport} at {place}.", "I went for walks with my {kin}."),
                "{Name} moved to a new town and knew nobody there.",
            ),
            Event(
                "All my friends have families and no time.",
                ("My friends had no time for me {when}.", "{When} I ate my dinner alone again."),
                ("Have you told them how you feel?", "Is there somebody you could call?"),
                ("No, I do not want to disturb them.", "Maybe my {kin}, {he} lives near {place}."),
                "{Name} ate dinner alone and then called {his} {kin}.",
            ),
            Event(
                "My {kin} left home for work.",
                ("My {kin} left home {when}, and the house is empty.", "{When} my {kin} went to live in another city."),
                ("Do you talk on the phone?", "What do you do in the evening?"),
                ("Yes, but only once a week.", "I sit in the {room} with my {pet}."),
                "After {his} {kin} left, {Name} walked through the empty house.",
            ),
        ),
    ),
    "anxious": Emotion(
        ("I am so nervous", "I feel very anxious", "I cannot stop worrying"),
        ("I understand that you are nervous.", "That would worry me too.", "It is hard to wait and not know."),
        CALM,
        (
            Event(
                "I have a {exam} exam in {number} days.",
                ("My {exam} exam is in {number} days.", "I thought about my {exam} exam all night {when}."),
                ("What worries you most?", "Have you been able to learn for it?"),
                ("I think that I will forget it all.", "Yes, every day at {place}."),
                "The {exam} exam was in {number} days, and {Name} studied at {place}.",
            ),
            Event(
                "I have to give a talk at work.",
                (
                    "I have to give a talk in front of {number} people.",
                    "{When} they asked me to give a talk at {place}.",
                ),
                ("What will you talk about?", "Could you try it with a friend first?"),
                ("I will talk about my work as a {job}.", "Yes, my {kin} will listen tonight."),
                "{Name} gave a talk at {place} and forgot the first words.",
            ),
            Event(
                "I am waiting for news from the doctor.",
                ("I went to the doctor {when} and wait for the result.", "{When} the doctor looked at my {kin}."),
                ("When will you hear from them?", "Is somebody with you?"),
                ("In {number} days, they said.", "Yes, my {kin} stays with me."),
                "{Name} waited for the letter from the doctor.",
            ),
        ),
    ),
    "afraid": Emotion(
        ("I was so afraid", "I am still scared", "my heart beat so fast"),
        ("Oh, that must have been scary!", "I would be afraid too.", "How frightening, I am glad you are safe."),
        CALM,
        (
            Event(
                "I heard a noise in the {room} at night.",
                (
                    "I heard a strange noise in the {room} {when}.",
                    "{When} something woke me up, a noise in the {room}.",
                ),
                ("Did you find out what it was?", "Were you alone at home?"),
                ("It was only the {pet}.", "Yes, my {kin} was at work."),
                "At night {Name} heard a noise in the {room}, but it was only the {pet}.",
            ),
            Event(
                "There was a big storm while I was driving.",
                ("{When} I drove through a big storm.", "A storm came while I was driving to {place} {when}."),
                ("Did you get home well?", "What did you do?"),
                ("Yes, but it took {number} hours.", "I stopped at {place} and waited."),
                "A storm came over {place}, and {Name} stopped the car and waited.",
            ),
            Event(
                "A big dog ran after me.",
                ("A big {colour} dog ran after me at {place} {when}.", "{When} a dog came running at me in {place}."),
                ("Are you all right?", "Where was its owner?"),
                ("Yes, I am, it only barked.", "The owner was far away and did not see it."),
                "A big {colour} dog ran after {Name} all the way to {place}.",
            ),
        ),
    ),
    "angry": Emotion(
        ("I am so angry", "it makes me so mad", "I wanted to shout"),
        ("I can see why you are angry.", "That is not fair at all.", "Oh, that would make me angry too."),
        (
            "You have every right to be angry.",
            "I hope they say sorry.",
            "Maybe it helps to take a walk first.",
            "It was good that you told me.",
        ),
        (
            Event(
                "Somebody stole my {thing}.",
                ("Somebody stole my {thing} at {place} {when}!", "{When} my {thing} was gone when I came back."),
                ("Have you told the police?", "Did anybody see it?"),
                ("Yes, but they cannot do much.", "Nobody saw it, there were too many people."),
                "Somebody took the {thing} of {Name} at {place}.",
            ),
            Event(
                "My neighbour plays loud music every night.",
                ("My neighbour played loud music again {when}.", "{When} I could not sleep because of my neighbour."),
                ("Have you talked to them?", "How long has this been going on?"),
                ('I did, and they said "so what" and closed the door.', "It has been {number} weeks now."),
                "The neighbour of {Name} played loud music until the morning.",
            ),
            Event(
                "My {kin} told everybody my secret.",
                ("My {kin} told my secret to everybody {when}.", "{When} I learned that my {kin} talked about me."),
                ("Why did your {kin} do that?", "Have you two talked about it?"),
                ("{He} said it was only a joke.", "Not yet, I am too angry."),
                "{Name} told a secret at dinner, and nobody laughed.",
            ),
        ),
    ),
    "annoyed": Emotion(
        ("it annoys me so much", "I am really annoyed", "it gets on my nerves"),
        ("Oh, how annoying!", "I know that, it is so annoying.", "That would get on my nerves too."),
        (
            "I hope the next day is better.",
            "Such little things can spoil a day.",
            "Have a cup of tea, you have earned it.",
            "Next time it will work.",
        ),
        (
            Event(
                "My train was late again.",
                ("My train was late again {when}.", "{When} I waited {number} hours at the station."),
                ("Did you miss something important?", "What did they tell you?"),
                ("I missed the dinner with my {kin}.", "They said it was the {weather}."),
                "The train was late, and {Name} waited {number} hours at the station.",
            ),
            Event(
                "My {kin} never cleans the {room}.",
                ("My {kin} did not clean the {room} again {when}.", "{When} I had to clean the {room} all by myself."),
                ("Have you asked your {kin} to help?", "Does this happen often?"),
                ("I ask every week, and {he} forgets it.", "At least {number} times a month."),
                "{Name} cleaned the {room} while the others slept.",
            ),
            Event(
                "My new {thing} broke after {number} days.",
                ("My new {thing} broke {when}.", "{When} I bought a {thing}, and it is broken already."),
                ("Can you take it back to the shop?", "Was it expensive?"),
                ("The shop is closed until Monday.", "Yes, I saved for {number} months."),
                "The new {thing} broke after {number} days, and {Name} took it back to the shop.",
            ),
        ),
    ),
    "disappointed": Emotion(
        ("I am so disappointed", "I had hoped for more", "I feel let down"),
        ("I am sorry, you had hoped for it so much.", "Oh, that is a pity.", "I understand that you are disappointed."),
        SORRY,
        (
            Event(
                "I did not get the job as a {job}.",
                ("I did not get the job as a {job}.", "{When} they wrote that they took somebody else as a {job}."),
                ("Did they tell you why?", "Will you try somewhere else?"),
                ("They wanted somebody with {number} more years of work.", "Yes, there is another place near {place}."),
                "{Name} did not get the work as a {job} and tried again at {place}.",
            ),
            Event(
                "Nobody remembered my birthday.",
                ("Nobody remembered my birthday {when}.", "{When} it was my birthday, and nobody called."),
                ("Not even your family?", "What would you have liked to do?"),
                ("My {kin} called {number} days later.", "I wanted to eat {meal} with my friends."),
                "Nobody called on the birthday of {Name} except {his} {kin}.",
            ),
            Event(
                "Our team lost at {sport}.",
                ("Our team lost the last game of {sport} {when}.", "{When} we lost at {sport}, and it was so close."),
                ("What went wrong?", "When do you play again?"),
                ("Our best player was ill.", "We play again in {number} weeks."),
                "The team lost at {sport}, and {Name} walked home in the {weather}.",
            ),
        ),
    ),
    "embarrassed": Emotion(
        ("I was so embarrassed", "my face went red", "I wanted to hide"),
        ("Oh no, I can imagine how you felt.", "That happens to everybody, really.", "Oh, I would have gone red too!"),
        (
            "I am sure they have forgotten it already.",
            "One day you will laugh about it.",
            "Nobody thinks less of you for that.",
            "It shows that you are human.",
        ),
        (
            Event(
                "I fell down in front of everybody at {place}.",
                (
                    "I fell down in front of everybody at {place} {when}.",
                    "{When} I slipped at {place}, and all people looked.",
                ),
                ("Did you hurt yourself?", "Did somebody help you?"),
                ("No, only my knee is a little blue.", "A kind {job} helped me up."),
                "{Name} fell down at {place}, and a kind {job} helped.",
            ),
            Event(
                'I called my teacher "mum".',
                ('I called my teacher "mum" {when}.', "{When} I called my boss by the name of my {pet}."),
                ("What did they say?", "Did the others hear it?"),
                ("They only smiled.", "All of them, and they laughed for {number} minutes."),
                "{Name} used the wrong name in front of the whole class.",
            ),
            Event(
                "I sent a message about my {kin} to my {kin}.",
                (
                    "I sent a message to the wrong person {when}.",
                    "{When} I wrote about my {kin}, and {he} got the message.",
                ),
                ("What was in it?", "Did you get an answer?"),
                ("I had written that {his} {meal} was terrible.", '{He} wrote back "thank you very much".'),
                "The message of {Name} went to the wrong person.",
            ),
        ),
    ),
    "guilty": Emotion(
        ("I feel so guilty", "I feel bad about it", "I cannot forgive myself"),
        ("I can hear that you feel bad about it.", "That must weigh on you.", "We all make mistakes like that."),
        (
            "I think they will understand.",
            "It is good that you want to make it right.",
            "Be kind to yourself, you did not mean it.",
            "A few honest words can help a lot.",
        ),
        (
            Event(
                "I forgot the birthday of my {kin}.",
                (
                    "I forgot the birthday of my {kin} {when}.",
                    "{When} it was the birthday of my {kin}, and I forgot it.",
                ),
                ("Have you called since then?", "What could you do to make it up?"),
                ("I called, and {he} was very quiet.", "I could bake some {meal} for {him}."),
                "{Name} forgot the birthday of {his} {kin} and baked {meal} the next day.",
            ),
            Event(
                "I broke the {thing} of my {kin}.",
                ("I broke the {thing} of my {kin} {when}.", "{When} I dropped the {thing} of my {kin}."),
                ("Does your {kin} know it already?", "Can it be repaired?"),
                ("No, I am afraid to say it.", "Maybe, a man at {place} will look at it."),
                "{Name} dropped the {thing} and took it to a man at {place}.",
            ),
            Event(
                "I shouted at my {kin} for nothing.",
                ("I shouted at my {kin} for nothing {when}.", "{When} I was tired and said bad things to my {kin}."),
                ("What made you so tired?", "Have you said sorry?"),
                ("I had worked for {number} days without a rest.", "Not yet, {he} does not want to talk."),
                "{Name} was tired and said a hard word to {his} {kin}.",
            ),
        ),
    ),
    "jealous": Emotion(
        ("I am a little jealous", "I wish it were me", "I cannot help being jealous"),
        (
            "It is honest of you to say that.",
            "I understand, everybody feels that sometimes.",
            "That is not easy to watch.",
        ),
        (
            "Your turn will come.",
            "You have other things that they do not have.",
            "It does not make you a bad person.",
            "Perhaps you can be happy for them too, with time.",
        ),
        (
            Event(
                "My {kin} got a new car.",
                ("My {kin} bought a new {colour} car {when}.", "{When} my {kin} showed me a new {colour} car."),
                ("Would you like to have one too?", "What did you say to your {kin}?"),
                ("Yes, mine is {number} years older.", "I said that I liked the colour."),
                "The {kin} of {Name} bought a {colour} car and drove it to {place}.",
            ),
            Event(
                "My friend {name} travels all the time.",
                ("My friend {name} flew to {trip} {when}.", "{When} {name} sent me pictures from {trip}."),
                ("Where would you like to go?", "When did you last have a holiday?"),
                ("I would go to {trip} at once.", "It was {number} years ago, with my {kin}."),
                "A friend sent {Name} pictures from {trip}.",
            ),
            Event(
                "They chose {name} as the team leader, not me.",
                (
                    "They made {name} the leader of our team {when}.",
                    "{When} {name} got the place that I wanted at {place}.",
                ),
                ("Have you talked with your boss?", "How long have you waited for it?"),
                ("Yes, I can try again next year.", "I have worked for it for {number} years."),
                "{Name} became the leader of the team at {place}.",
            ),
        ),
    ),
    "nostalgic": Emotion(
        ("it makes me think of old times", "I miss those days", "I had tears in my eyes"),
        ("What a lovely memory.", "I can hear how much you miss it.", "Old times can feel so close."),
        (
            "Thank you for telling me this.",
            "Those days will always be yours.",
            "It is nice that you keep such memories.",
            "Maybe you can tell your family about it.",
        ),
        (
            Event(
                "I found the old pictures of my {kin}.",
                (
                    "I found old pictures of my {kin} {when}.",
                    "{When} I looked at the pictures from our days at {trip}.",
                ),
                ("What was on the pictures?", "Which one do you like most?"),
                ("My {kin} and I with a {colour} {pet}.", "The one where we eat {meal} at {trip}."),
                "{Name} looked at old pictures from {trip} with {his} {kin}.",
            ),
            Event(
                "I walked past my old school.",
                ("I walked past my old school {when}.", "{When} I saw the house where I grew up."),
                ("Has it changed much?", "What do you remember best?"),
                ("It is {colour} now, and smaller than I thought.", "How my {kin} waited for me at the door."),
                "{Name} walked past the old school, which was {colour} now.",
            ),
            Event(
                "I smelled {meal} like my {kin} used to make.",
                (
                    "I smelled {meal} at {place} {when}, as my {kin} made it.",
                    "{When} I made the {meal} of my {kin} again.",
                ),
                ("Did it taste the same?", "What was your {kin} like?"),
                ("Nearly, but {his} {meal} was better.", "{He} was warm and always sang in the kitchen."),
                "The kitchen smelled of {meal}, and {Name} thought of {his} {kin}.",
            ),
        ),
    ),
    "caring": Emotion(
        ("I want to help", "I care about them so much", "I hope I can do something"),
        ("You have a big heart.", "How good of you to be there.", "That is very kind of you."),
        (
            "They are lucky to have you.",
            "Do not forget to look after yourself too.",
            "Small things help more than we think.",
            "I am sure they feel how much you care.",
        ),
        (
            Event(
                "I look after my {kin}, who broke a leg.",
                ("My {kin} broke a leg {when}, and I look after {him}.", "{When} I moved in with my {kin} to help."),
                ("How is your {kin} now?", "What do you do all day?"),
                ("{He} can walk again in {number} weeks.", "I cook {meal} and read to {him}."),
                "{Name} cooked {meal} for {his} {kin}, who had broken a leg.",
            ),
            Event(
                "I found a little {pet} on the street.",
                ("I found a little {pet} near {place} {when}.", "{When} I took home a {pet} that was wet and cold."),
                ("Is it all right now?", "Will you keep it?"),
                ("Yes, it ate and slept for {number} hours.", "Only until we find its family."),
                "{Name} found a wet {pet} near {place} and took it home.",
            ),
            Event(
                "I bring food to my old neighbour.",
                ("I brought some {meal} to my old neighbour {when}.", "{When} I visited my old neighbour, who is ill."),
                ("What did you talk about?", "Does your neighbour have a family?"),
                ("We talked about the old days at {trip}.", "Only a {kin}, far away."),
                "{Name} brought {meal} to the old neighbour every week.",
            ),
        ),
    ),
    "confident": Emotion(
        ("I am sure I can do it", "I feel ready", "I know that it will go well"),
        ("That is a great feeling!", "I like how sure you are.", "It sounds like you are ready!"),
        ("Go for it!", "I believe in you too.", "You have worked for it, so enjoy it.", "Tell me how it went."),
        (
            Event(
                "I play the last game of {sport} soon.",
                ("Our last game of {sport} is in {number} days.", "We trained so well for {sport} {when}."),
                ("How did you get ready for it?", "Who will come to watch?"),
                ("I trained every day at {place}.", "My {kin} and all of my friends."),
                "{Name} trained for {sport} every day at {place}.",
            ),
            Event(
                "I will talk to my boss about more money.",
                ("I will ask my boss for more money soon.", "{When} I decided to ask for more money at work."),
                ("How will you begin?", "What makes you so sure?"),
                ("I will show what I did in {number} years.", "They need a good {job}, and they know it."),
                "{Name} asked for more money after {number} years as a {job}.",
            ),
            Event(
                "I will cook {meal} in a contest at {place}.",
                (
                    "I will cook my {meal} in a contest at {place}.",
                    "{When} I made the best {meal} of my life for the contest.",
                ),
                ("What is special about it?", "Who taught you to cook like that?"),
                ("I use the old recipe of my {kin}.", "Nobody, I tried it {number} times."),
                "{Name} cooked {meal} in a contest at {place} and came second.",
            ),
        ),
    ),
}

GREETINGS = ("", "", "", "", "Hi, ", "You know, ", "Well, ", "Guess what, ", "Hello. ")
FOLLOW_UPS = (
    "How do you feel about it now?",
    "What will you do next?",
    "Do you want to tell me more?",
    "Does it help to talk about it?",
)
FEELING_NOW = (
    "A little better, thank you for asking.",
    "I think about it all the time.",
    "I do not know yet, but talking helps.",
    "I will see tomorrow.",
    "Maybe I will talk to my {kin} about it.",
)
THANKS = ("Thank you, that is kind.", "Thanks for listening.", "Yes, you are right.", "Thank you, I needed that.")

SCENES = (
    "{When}, {Name} got up early and opened the window.",
    "There was {weather} over {place}.",
    "The {weather} lasted for {number} days.",
    "{He} put on the {colour} coat and left the house.",
    "{Name} drank a cup of tea in the {room} and read the paper.",
    "{He} walked to {place} and bought {plant}.",
    "At {place} {he} met {other}, who worked there as a {job}.",
    "{Other} had lived near {trip} for {number} years.",
    "They talked about the {weather} and the price of {meal}.",
    "{Other} carried a {colour} {thing} under one arm.",
    "The {pet} sat by the door and looked at the street.",
    "In the afternoon the {kin} of {Name} came by with {meal}.",
    "They cooked {meal} and ate it in the {room}.",
    "The shop near {place} closed at {number}.",
    "{Name} forgot the {thing} on the train.",
    "The train to {trip} left at {number} in the morning.",
    "{Number} children played {sport} behind {place}.",
    "The teacher told them about the history of {place}.",
    "It took {number} hours to paint the {room} {colour}.",
    "{Name} worked as a {job} and came home late.",
    "On the table there was a letter from {his} {kin}.",
    "The letter was about a house at {trip}.",
    "{He} read it twice and put it in the {colour} box.",
    "Then {he} cleaned the {room} and fed the {pet}.",
    "{Name} and {Other} had been friends since school.",
    "Every year they went to {trip} for {number} days.",
    "The road to {trip} was long, and there was {weather}.",
    "In the garden there were {plant} and a {colour} chair.",
    "{His} {kin} had planted them {number} years before.",
    "The baker sold bread, {meal} and small cakes.",
    "A bus stopped in front of {place}, and {number} people got off.",
    "{Other} played {sport} every week and was never ill.",
    "In the evening they listened to old songs.",
    "{Name} was happy with the day and went to bed early.",
    "{He} was tired, but {he} did not want to sleep.",
    "{Other} was angry about the noise and closed the window.",
    "The doctor came at {number} and stayed for tea.",
    "Nobody knew who had left the {thing} at {place}.",
    "The police looked for the {colour} {thing} and did not find it.",
    "A week later it lay in the {room}, under a chair.",
    "{Name} laughed about it and told {his} {kin}.",
    "The night was quiet, and the {pet} slept.",
    "It was very warm, and {he} went to swim because of the sun.",
    "{Other} said that the days were much too short.",
    "Perhaps {he} would stay for some more weeks, {he} said.",
    "They wanted to try the new club, but it was closed on Friday.",
    "{Other} showed {him} how to bake {meal} and what else to do with it.",
    "Most of the others had forgotten the old song, but {he} knew it well.",
    "He who waits long enough will see the first green, said {his} {kin}.",
    "The favourite chair of the {kin} stood next to the door.",
    "{Name} had never seen so many people at {place} before.",
    "It was nearly night when the news came on.",
    "{Other} did not say why, and {Name} did not ask.",
    "They sat next to each other and did not talk for a long time.",
    "You can see {place} from there, if there is no {weather}.",
    "Have you seen my {thing}, asked {Other}, and {Name} said no.",
    "I left it in the {room}, said {Other}, and went to look for it.",
    "We should all go to {trip} together, said the {kin}.",
    "{Name} learned {sport} when {he} was small and still liked it.",
    "{Other} had to wait for the doctor and was nervous.",
    "The team played its last game, and {Name} could hardly watch.",
    "Everybody was surprised, and somebody started to sing.",
    "{Name} missed the bus again and was annoyed for the whole day.",
    "{Other} felt lonely at first, then proud, and at the end just tired.",
    "The small house was far away from {place}, and the road was bad.",
    "{He} thanked {Other} for the help and gave back the {thing}.",
)

# Unemotional chats in the corpus: question, answer, second question, second answer.
CHATS = (
    ("What will the weather be like at {trip}?", "There will be {weather} for {number} days.",
     "And after that?", "After that it will be dry, with a little {weather_2}."),
    ("Do I need a coat today?", "Yes. There is {weather}, and it is cold near {place}.",
     "How cold is it?", "About {number} degrees in the morning."),
    ("How do I get to {place}?", "Go straight on, turn left at {place_2} and walk for {number} minutes.",
     "Is there a bus?", "Yes, bus {number} stops in front of {place}."),
    ("Where can I buy a {thing}?", "There is a shop near {place}. It opens at {number}.",
     "Is it open on Monday?", "Yes, it is open every day but Sunday."),
    ("How do I make {meal}?", "Mix flour, water and salt, wait for an hour and cook it for {number} minutes.",
     "How much salt?", "Take {number} small spoons."),
    ("How long do I cook {meal}?", "Cook it for {number} minutes and stir it twice.",
     "Do I need oil?", "Yes, one spoon of oil."),
    ("How often do I water {plant}?", "Water them every {number} days, early in the morning.",
     "Where do they grow best?", "They grow best behind the house, where there is sun."),
    ("When does the train to {trip} leave?", "It leaves at {number} in the morning and at {number_2} in the evening.",
     "What does a ticket cost?", "A ticket costs {number} coins."),
    ("How do I clean a {colour} coat?", "Wash it in cold water and dry it in the {room}.",
     "Can I use soap?", "Yes, a little white soap."),
    ("What does a {pet} eat?", "It eats {number} small meals a day, and it needs fresh water.",
     "How much does it sleep?", "It sleeps for most of the day."),
    ("How many people play {sport}?", "It depends. In the school there are {number} on each side.",
     "Where can I learn it?", "There is a class at {place} at {number}."),
    ("What colour goes with {colour}?", "Take {colour_2}. It makes the {room} look bigger.",
     "How much paint do I need?", "You need {number} cans for the {room}."),
)  # fmt: skip
